"""Coordinates of networks whose heatmaps are coarser than the image.

See `LandmarkModel` for the attribute `heatmap_stride`.
"""


def heatmap_stride(network):
    return getattr(network, "heatmap_stride", 1)


def to_heatmaps(points, network):
    """Converts points from pixels of the grid to pixels of the heatmaps."""
    stride = heatmap_stride(network)
    return (points - 0.5 * (stride - 1)) / stride


def to_grid(peaks, network):
    """Converts the output of `HeatmapPeak` to pixels of the grid."""
    stride = heatmap_stride(network)
    if stride == 1:
        return peaks
    return {
        **peaks,
        "points": stride * peaks["points"] + 0.5 * (stride - 1),
        "covariance": stride**2 * peaks["covariance"],
    }
