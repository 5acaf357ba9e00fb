"""Networks whose heatmaps are coarser than the image, see `LandmarkModel`."""


def heatmap_stride(network):
    return getattr(network, "heatmap_stride", 1)


def to_heatmaps(points, network):
    """Brings points from pixels of the grid to pixels of the heatmaps."""
    stride = heatmap_stride(network)
    return (points - 0.5 * (stride - 1)) / stride


def to_grid(peaks, network):
    """Brings what `HeatmapPeak` found to pixels of the grid."""
    stride = heatmap_stride(network)
    if stride == 1:
        return peaks
    return {
        **peaks,
        "points": stride * peaks["points"] + 0.5 * (stride - 1),
        "covariance": stride**2 * peaks["covariance"],
    }
