"""Pictures of images, points and heatmaps."""
