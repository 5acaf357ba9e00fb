"""From located images to errors, tables and comparisons of runs."""
