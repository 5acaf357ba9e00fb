"""From stored samples to the batches that a training takes."""
