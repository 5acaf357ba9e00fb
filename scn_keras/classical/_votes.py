"""Accumulates weighted votes and finds their densest point."""

import itertools

import numpy as np

# The covariance of votes that all agree: that of a uniform distribution in a pixel.
_PIXEL_VARIANCE = 1.0 / 12.0


def vote_map(votes, weights, sizes, sigma):
    """Returns the sum of Gaussians of height `weight` around all votes.

    Votes are distributed to the neighbouring pixels linearly and smoothed along each
    axis. Votes outside the map are lost.

    Args:
        votes: Array `(V, D)` in px of the map, columns x, y(, z).
        weights: Array `(V,)`.
        sizes: The sizes of the map in array order.
        sigma: Float, the width of the Gaussians in px.

    Returns:
        Float64 array `sizes`.
    """
    votes = np.asarray(votes, "float64")
    low = np.floor(votes)
    part = votes - low
    low = low.astype("int64")
    total = np.zeros(int(np.prod(sizes)))
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        index, inside = np.zeros(len(votes), "int64"), np.ones(len(votes), bool)
        weight = np.asarray(weights, "float64")
        for axis, size in enumerate(sizes):
            column = len(sizes) - 1 - axis
            along = low[:, column] + corner[column]
            weight = weight * np.abs(1 - corner[column] - part[:, column])
            inside = inside & (along >= 0) & (along < size)
            index = index * size + along
        total += np.bincount(index[inside], weight[inside], len(total))
    result = total.reshape(sizes)
    for axis, size in enumerate(sizes):
        along = np.arange(size)
        kernel = np.exp(-0.5 * ((along[:, None] - along) / sigma) ** 2)
        result = np.moveaxis(np.tensordot(kernel, result, (1, axis)), 0, axis)
    return result


def find_peak(density):
    """Returns the largest pixel, refined by a parabola of the logarithm by axis.

    Returns:
        The point `(D,)`, columns x, y(, z), and the value of the pixel.
    """
    index = np.unravel_index(np.argmax(density), density.shape)
    point = []
    for axis, i in enumerate(index):
        step = 0.0
        if 0 < i < density.shape[axis] - 1:
            around = [(*index[:axis], i + k, *index[axis + 1 :]) for k in (-1, 0, 1)]
            values = np.array([density[a] for a in around])
            low, middle, high = np.log(np.maximum(values, 1e-6 * values[1] + 1e-300))
            curvature = low + high - 2.0 * middle
            if curvature < 0.0:
                step = np.clip(0.5 * (low - high) / curvature, -0.5, 0.5)
        point.append(i + step)
    return np.array(point[::-1]), float(density[index])


def moments_around(point, votes, weights, radius):
    """Returns the covariance of the votes within a radius around a point, `(D, D)`."""
    apart = votes - point
    near = np.sum(apart**2, axis=1) <= radius**2
    apart, weights = apart[near], weights[near]
    covariance = _PIXEL_VARIANCE * np.eye(len(point))
    if weights.sum() > 0.0:
        covariance += np.einsum("v,vi,vj->ij", weights, apart, apart) / weights.sum()
    return covariance
