"""Sets of points laid over each other by similarity transforms.

A similarity turns, scales and moves, and never mirrors: what is left in one set of
points is left in the other. Sets are `(N, D)` of 2 or 3 dimensions; a NaN row is a
missing point and has no part.
"""

from collections.abc import Sequence

import numpy as np

from scn_keras.geometry import apply_affine

_ROBUST_STEPS = 30
_LEAST_SPREAD = 0.05
_MEAN_STEPS = 20


def align(
    points: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None = None,
    robust: bool = False,
) -> np.ndarray:
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

    Returns:
        Float64 affine `(D + 1, D + 1)`.

    Raises:
        ValueError: If fewer than D points are in both sets and have a weight.

    Example:

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> affine = scn_keras.alignment.align(square, square[[1, 2, 3, 0]] * 3.0)
    >>> np.round(affine, 6) + 0.0
    array([[ 0., -3.,  3.],
           [ 3.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    if weights is None:
        weights = np.ones(len(points))
    there = ~np.isnan(points).any(-1) & ~np.isnan(target).any(-1) & (weights > 0)
    points, target, weights = points[there], target[there], weights[there]
    if len(points) < points.shape[-1]:
        raise ValueError(
            f"It takes at least {points.shape[-1]} points that are in both sets to lay "
            f"one over the other. Received: {len(points)}"
        )
    affine = _similarity(points, target, weights)
    # Without a bound, of few points some fit ever better and the others are lost.
    least = _LEAST_SPREAD * np.sqrt(np.square(target - target.mean(0)).sum(-1).mean())
    for _ in range(_ROBUST_STEPS if robust else 0):
        distance = np.linalg.norm(apply_affine(affine, points) - target, axis=-1)
        share = distance / max(np.median(distance), least)
        affine = _similarity(points, target, weights / (1.0 + share**2) ** 2)
    return affine


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


def _similarity(points, target, weights):
    weights = (weights / weights.sum())[:, None]
    center, goal = (weights * points).sum(0), (weights * target).sum(0)
    points, target = points - center, target - goal
    u, strength, vt = np.linalg.svd(target.T @ (weights * points))
    turn = np.ones(len(strength))
    turn[-1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    scale = (strength * turn).sum() / (weights * points**2).sum()
    d = len(strength)
    affine = np.eye(d + 1)
    affine[:d, :d] = scale * (u * turn) @ vt
    affine[:d, d] = goal - affine[:d, :d] @ center
    return affine
