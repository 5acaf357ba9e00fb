"""What identifies an image whatever its name: its pixels, and its look."""
