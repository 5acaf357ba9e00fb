"""Changes in the answers of a model over time, without the images."""
