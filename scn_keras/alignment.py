"""Sets of points laid over each other by similarity transforms.

A similarity turns, scales and moves, and never mirrors: what is left in one set of
points is left in the other. Sets are `(N, D)` of 2 or 3 dimensions; a NaN row is a
missing point and has no part.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.geometry import apply_affine

_ROBUST_STEPS = 30
_LEAST_SPREAD = 0.05
_MEAN_STEPS = 20


def align(
    points: Any,
    target: Any,
    weights: Any = None,
    robust: bool = False,
    xp: Any = warp.NUMPY,
) -> Any:
    """Returns the similarity that brings points as near as can be to their targets.

    It has the least sum of squared distances (Umeyama, IEEE TPAMI 13, 1991).

    Args:
        points: Array `(N, D)`.
        target: Array `(N, D)`.
        weights: Array `(N,)` of numbers that are not negative; `None` for all alike.
        robust: Bool, whether points that end up far from their targets count for
            little: weights are divided by `(1 + (r / s) ** 2) ** 2`, r being the
            distance and s the median one, at least a twentieth of the set's radius,
            until they settle (Geman and McClure, 1987). Bears about a third of points
            anywhere.
        xp: The library, see `scn_keras.warp`.

    Returns:
        Float64 affine `(D + 1, D + 1)`. In a graph, of fewer points than it takes, one
        that brings all to one place.

    Raises:
        ValueError: If fewer than D points are in both sets and have a weight; in a
            graph, where that is not known beforehand, it is not raised.

    Example:

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> affine = scn_keras.alignment.align(square, square[[1, 2, 3, 0]] * 3.0)
    >>> np.round(affine, 6) + 0.0
    array([[ 0., -3.,  3.],
           [ 3.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    points, target, weights = (
        xp.cast(values, "float64")
        for values in (points, target, 1.0 if weights is None else weights)
    )
    d = points.shape[-1]
    there = ~xp.isnan(xp.sum(points + target, axis=-1)) & (weights > 0)
    # Nothing is taken out, and so shapes stay: what has no part has no weight.
    weights = xp.where(there, weights, 0.0)
    points = xp.where(there[:, None], points, 0.0)
    target = xp.where(there[:, None], target, 0.0)
    count = xp.sum(xp.cast(there, "int32"))
    if xp is warp.NUMPY and count < d:
        raise ValueError(
            f"It takes at least {d} points that are in both sets to lay one over the "
            f"other. Received: {count}"
        )
    affine = _similarity(points, target, weights, xp)
    # Without a bound, of few points some fit ever better and the others are lost.
    among = xp.cast(there, "float64")
    radius = _spread(target, among / _or_one(xp.sum(among), xp), xp)
    least = _LEAST_SPREAD * xp.sqrt(radius)

    def step(_, affine):
        off = apply_affine(affine, points) - target
        distance = xp.sqrt(xp.sum(off * off, axis=-1))
        typical = _median(distance, there, count, xp)
        share = distance / _or_one(xp.maximum(typical, least), xp)
        reduced = weights / (1.0 + share**2) ** 2
        return _similarity(points, target, reduced, xp)

    return xp.fori_loop(0, _ROBUST_STEPS if robust else 0, step, affine)


def mean_shape(shapes: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the mean of sets of points, whatever the pose of each.

    All are laid over their mean, over and over (generalised Procrustes analysis:
    Gower, Psychometrika 40, 1975). The mean has their mean size and a pose of its own:
    its longest extent lies along the last axis, the shortest along x, the middle of
    its bounding box at 0.

    Args:
        shapes: Arrays `(N, D)` of the same points.

    Returns:
        Float64 array `(N, D)`, NaN where a point is missing from all sets.

    Raises:
        ValueError: If two sets have fewer than D points in common.
    """
    shapes = [np.asarray(shape, np.float64) for shape in shapes]
    # The most complete one says where the others' points are to begin with.
    mean = min(shapes, key=lambda shape: np.isnan(shape).sum())
    mean = mean - np.nanmean(mean, axis=0)
    for _ in range(_MEAN_STEPS):
        placed = [align(shape, mean) for shape in shapes]
        # Sizes multiply: their mean is the geometric one, and the mean keeps it.
        d = mean.shape[-1]
        growth = np.mean([np.linalg.slogdet(a[:d, :d])[1] / d for a in placed])
        moved = [apply_affine(a, s) for a, s in zip(placed, shapes, strict=True)]
        there = sum(~np.isnan(shape) for shape in moved)
        total = sum(np.nan_to_num(shape) for shape in moved)
        mean = np.where(there > 0, total / np.maximum(there, 1), np.nan)
        mean = (mean - np.nanmean(mean, axis=0)) / np.exp(growth)
    known = mean[~np.isnan(mean).any(-1)]
    _, axes = np.linalg.eigh(known.T @ known)  # the shortest first
    axes[:, 0] *= np.sign(np.linalg.det(axes))  # turned, not mirrored
    mean = mean @ axes
    return mean - 0.5 * (np.nanmin(mean, axis=0) + np.nanmax(mean, axis=0))


def _similarity(points, target, weights, xp):
    weights = weights / _or_one(xp.sum(weights), xp)
    center = xp.sum(weights[:, None] * points, axis=0)
    goal = xp.sum(weights[:, None] * target, axis=0)
    d, spread = points.shape[-1], _spread(points, weights, xp)
    points, target = points - center, target - goal
    products = target[:, :, None] * points[:, None, :]
    u, strength, vt = xp.svd(xp.sum(weights[:, None, None] * products, axis=0))
    mirrored = xp.sign(xp.det(u) * xp.det(vt))
    strength, last = strength[: d - 1], strength[d - 1]
    scale = (xp.sum(strength) + mirrored * last) / _or_one(spread, xp)
    # The product of u and vt, the last column of u mirrored back if need be.
    turn = sum(u[:, k, None] * vt[k] for k in range(d - 1))
    linear = scale * (turn + mirrored * u[:, d - 1, None] * vt[d - 1])
    offset = goal - xp.sum(linear * center, axis=-1)
    columns = [*(linear[:, k] for k in range(d)), offset]
    corner = np.zeros((d + 1, d + 1))
    corner[d, d] = 1.0
    return xp.pad(xp.stack(columns, axis=-1), [[0, 1], [0, 0]]) + corner


def _spread(points, weights, xp):
    """Mean square of the distances from the middle; weights add up to 1."""
    apart = points - xp.sum(weights[:, None] * points, axis=0)
    return xp.sum(weights[:, None] * apart * apart)


def _median(values, there, count, xp):
    ordered = xp.sort(xp.where(there, values, np.inf))
    last = xp.maximum(count - 1, 0)
    return 0.5 * (ordered[last // 2] + ordered[(last + 1) // 2])


def _or_one(value, xp):
    """A divisor, where what is divided is 0 as well."""
    return xp.where(value > 0.0, value, 1.0)
