"""The input of a training: from stored samples to batches."""
