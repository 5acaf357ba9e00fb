"""Similarity transforms between sets of corresponding points, and mean shapes.

A similarity rotates, scales and translates. It never reflects, so that the left and
right sides of a shape stay apart. Point sets are `(..., N, D)` with D = 2 or 3; a NaN
row is a missing point and has no influence.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from scn_keras import array_api
from scn_keras.geometry import apply_affine

_MEAN_STEPS = 20


@dataclasses.dataclass(frozen=True)
class RobustWeights:
    """Weights that decrease with the distance of a point from its target.

    The weight of a point at distance r is divided by `(1 + (r / s)^2)^power`. The
    scale s is `tuning` times the median distance, but at least `floor` times the root
    mean square radius of the target points.

    Args:
        steps: Int, the number of fits with updated weights after the first one.
        power: Int, 1 for Cauchy weights, 2 for Geman-McClure weights (1987), which
            reject outliers more strictly.
        tuning: Float, the scale relative to the median distance.
        floor: Float. Without this lower bound, the fit could converge to a few points
            and reject all others.
        lower_median: Bool, whether the median of an even number of distances is the
            smaller of the two middle ones instead of their mean.
    """

    steps: int
    power: int
    tuning: float
    floor: float
    lower_median: bool = False


# Up to about a third of the points may be outliers.
GEMAN_MCCLURE = RobustWeights(steps=30, power=2, tuning=1.0, floor=0.05)


def align(
    points: Any,
    target: Any,
    weights: Any = None,
    robust: bool = False,
    xp: Any = array_api.NUMPY,
) -> Any:
    """Returns the similarity that maps points to their targets with the least error.

    The error is the weighted sum of squared distances (Umeyama, IEEE TPAMI 13, 1991).

    Args:
        points: Array `(N, D)`.
        target: Array `(N, D)`.
        weights: Array `(N,)`, not negative; `None` for equal weights.
        robust: Bool, whether the weights of points that are far from their targets
            are reduced, by `GEMAN_MCCLURE`. Up to about a third of the points may
            then be outliers.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Float64 affine `(D + 1, D + 1)`. In a TensorFlow graph, fewer than D points
        give a degenerate affine, which maps all points to one.

    Raises:
        ValueError: If fewer than D points are present in both sets with a positive
            weight. Not raised in a TensorFlow graph, where the number is not known.

    Example:

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> affine = scn_keras.alignment.align(square, square[[1, 2, 3, 0]] * 3.0)
    >>> np.round(affine, 6) + 0.0
    array([[ 0., -3.,  3.],
           [ 3.,  0.,  0.],
           [ 0.,  0.,  1.]])
    """
    if xp is array_api.NUMPY:
        d = np.shape(points)[-1]
        present = _present(np.asarray(points), np.asarray(target), weights, xp)
        count = present.sum()
        if count < d:
            raise ValueError(
                f"A similarity in {d} dimensions requires at least {d} points that are "
                f"present in both sets and have a positive weight. Received: {count}"
            )
    return fit_similarity(
        points, target, weights, GEMAN_MCCLURE if robust else None, xp
    )


def fit_similarity(
    points: Any,
    target: Any,
    weights: Any = None,
    robust: RobustWeights | None = None,
    xp: Any = array_api.NUMPY,
) -> Any:
    """Fits similarities to one or many sets of points, see `align`.

    Args:
        points: Array `(..., N, D)`.
        target: Array `(..., N, D)`; leading axes broadcast against those of `points`.
        weights: Array `(..., N)`, not negative; `None` for equal weights.
        robust: `RobustWeights` for iteratively reweighted least squares; `None` for
            one least-squares fit.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Float64 affines `(..., D + 1, D + 1)`. A set of too few points has a
        degenerate affine, which maps all points to one.

    Example:

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> affines = scn_keras.alignment.fit_similarity(
    ...     np.stack([square, 2.0 * square]), square
    ... )
    >>> affines.shape, affines[:, 0, 0].round(6).tolist()
    ((2, 3, 3), [1.0, 0.5])
    """
    points, target = (xp.cast(values, "float64") for values in (points, target))
    weights = xp.cast(1.0 if weights is None else weights, "float64")
    present = _present(points, target, weights, xp)
    # Shapes are static in graphs: a point is excluded by a weight of zero.
    weights = xp.where(present, weights, 0.0)
    points = xp.where(present[..., None], points, 0.0)
    target = xp.where(present[..., None], target, 0.0)
    affine = _weighted_similarity(points, target, weights, xp)
    if robust is None:
        return affine
    equal = xp.cast(present, "float64")
    equal = equal / _or_one(xp.sum(equal, axis=-1), xp)[..., None]
    floor = robust.floor * xp.sqrt(_mean_square_radius(target, equal, xp))

    def step(_, affine):
        residual = apply_affine(affine, points) - target
        distance = xp.sqrt(xp.sum(residual * residual, axis=-1))
        median = masked_median(distance, present, robust.lower_median, xp)
        scale = _or_one(xp.maximum(robust.tuning * median, floor), xp)
        ratio = distance / scale[..., None]
        reduced = weights / (1.0 + ratio**2) ** robust.power
        return _weighted_similarity(points, target, reduced, xp)

    return xp.fori_loop(0, robust.steps, step, affine)


def masked_median(values: Any, mask: Any, lower: bool, xp: Any) -> Any:
    """Returns the median of the values that a mask selects, infinity for none.

    Args:
        values: Array `(..., N)`.
        mask: Bool array `(..., N)`.
        lower: Bool, whether an even number of values has the smaller of its two
            middle values as median instead of their mean.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Array `(...)`.

    Example:

    >>> values = np.array([5.0, 1.0, 9.0, 2.0])
    >>> float(masked_median(values, values < 9.0, False, scn_keras.array_api.NUMPY))
    2.0
    """
    ordered = xp.sort(xp.where(mask, values, np.inf))
    last = xp.maximum(xp.sum(xp.cast(mask, "int32"), axis=-1) - 1, 0)
    low = _element(ordered, last // 2, xp)
    return low if lower else 0.5 * (low + _element(ordered, (last + 1) // 2, xp))


def mean_shape(
    shapes: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]] = ()
) -> np.ndarray:
    """Returns the mean of sets of corresponding points, regardless of their poses.

    All shapes are aligned to their mean repeatedly (generalised Procrustes analysis:
    Gower, Psychometrika 40, 1975). The result has their geometric mean size and a
    canonical pose: its longest extent lies along the last axis, the shortest along x,
    and the centre of its bounding box at 0.

    With pairs, the mirror images of all shapes take part as well, so that the mean is
    symmetric (object symmetry: Mardia, Bookstein and Moreton, Biometrika 87, 2000). The
    plane of symmetry is then x = 0, whatever the extent along x.

    Args:
        shapes: Sequence of arrays `(N, D)` of the same points.
        pairs: Sequence of pairs of indices, points that are exchanged in a mirror
            image. All others lie in the plane of symmetry.

    Returns:
        Float64 array `(N, D)`, NaN where a point is missing from all shapes.

    Raises:
        ValueError: If a shape has fewer than D points in common with the mean.

    Example:

    >>> shape = [[0.0, 0.0], [4.0, 0.0], [2.0, 3.0]]
    >>> mean = scn_keras.alignment.mean_shape([shape], pairs=[(0, 1)])
    >>> np.round(np.abs(mean), 3).tolist()
    [[2.0, 1.5], [2.0, 1.5], [0.0, 1.5]]
    """
    shapes = [np.asarray(shape, np.float64) for shape in shapes]
    if pairs:
        shapes += [_mirrored(shape, pairs) for shape in shapes]
    # Points that are missing from the initial mean cannot be aligned to it.
    mean = min(shapes, key=lambda shape: np.isnan(shape).sum())
    mean = mean - np.nanmean(mean, axis=0)
    for _ in range(_MEAN_STEPS):
        affines = [align(shape, mean) for shape in shapes]
        # The mean shape is scaled to the geometric mean of the sizes.
        d = mean.shape[-1]
        growth = np.mean([np.linalg.slogdet(a[:d, :d])[1] / d for a in affines])
        aligned = [apply_affine(a, s) for a, s in zip(affines, shapes, strict=True)]
        count = sum(~np.isnan(shape) for shape in aligned)
        total = sum(np.nan_to_num(shape) for shape in aligned)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        mean = (mean - np.nanmean(mean, axis=0)) / np.exp(growth)
    known = mean[~np.isnan(mean).any(-1)]
    extent = known.T @ known
    if pairs:
        # The points of all pairs differ along the normal of the plane of symmetry.
        apart = np.nan_to_num(np.diff(mean[np.array(pairs)], axis=1)[:, 0])
        normal = np.linalg.eigh(apart.T @ apart)[1][:, -1]
        along = np.outer(normal, normal)
        inside = np.eye(len(normal)) - along
        # The smallest extent, so that the normal is the first axis.
        extent = inside @ extent @ inside - along
    _, axes = np.linalg.eigh(extent)  # in ascending order of extent
    axes[:, 0] *= np.sign(np.linalg.det(axes))  # a rotation, not a reflection
    mean = mean @ axes
    if pairs:
        mean = 0.5 * (mean + _mirrored(mean, pairs))
    return mean - 0.5 * (np.nanmin(mean, axis=0) + np.nanmax(mean, axis=0))


def _mirrored(shape, pairs):
    """Returns a shape mirrored in x, with its pairs exchanged."""
    order = np.arange(len(shape))
    for first, second in pairs:
        order[[first, second]] = second, first
    sign = np.ones(shape.shape[-1])
    sign[0] = -1.0
    return shape[order] * sign


def _present(points, target, weights, xp):
    """Returns a mask of the points in both sets with positive weight, `(..., N)`."""
    present = ~xp.isnan(xp.sum(points + target, axis=-1))
    return present if weights is None else present & (weights > 0)


def _weighted_similarity(points, target, weights, xp):
    """Returns the least-squares similarity of points without NaN, see `align`."""
    weights = weights / _or_one(xp.sum(weights, axis=-1), xp)[..., None]
    source_center = xp.sum(weights[..., None] * points, axis=-2)
    target_center = xp.sum(weights[..., None] * target, axis=-2)
    d, variance = points.shape[-1], _mean_square_radius(points, weights, xp)
    points = points - source_center[..., None, :]
    target = target - target_center[..., None, :]
    products = target[..., :, None] * points[..., None, :]
    u, strength, vt = xp.svd(xp.sum(weights[..., None, None] * products, axis=-3))
    # -1 if the best orthogonal matrix is a reflection. Its last axis is then reversed.
    sign = xp.sign(xp.det(u) * xp.det(vt))
    strength, last = strength[..., : d - 1], strength[..., d - 1]
    scale = (xp.sum(strength, axis=-1) + sign * last) / _or_one(variance, xp)
    rotation = sum(u[..., k, None] * vt[..., k, None, :] for k in range(d - 1))
    sign, scale = sign[..., None, None], scale[..., None, None]
    linear = scale * (rotation + sign * u[..., d - 1, None] * vt[..., d - 1, None, :])
    offset = target_center - xp.sum(linear * source_center[..., None, :], axis=-1)
    columns = [*(linear[..., k] for k in range(d)), offset]
    corner = np.zeros((d + 1, d + 1))
    corner[d, d] = 1.0
    leading = [[0, 0]] * (len(linear.shape) - 2)
    top = xp.stack(columns, axis=-1)
    return xp.pad(top, [*leading, [0, 1], [0, 0]]) + corner


def _mean_square_radius(points, weights, xp):
    """Returns the mean squared distance from the centre. The weights sum to 1."""
    center = xp.sum(weights[..., None] * points, axis=-2)
    centered = points - center[..., None, :]
    return xp.sum(weights[..., None] * centered * centered, axis=(-2, -1))


def _element(values, index, xp):
    """Returns the elements of the last axis at an index for each leading axis."""
    selected = xp.arange(xp.shape(values)[-1]) == index[..., None]
    return xp.sum(xp.where(selected, values, 0.0), axis=-1)


def _or_one(value, xp):
    """Returns a divisor in which 0 is replaced by 1, for numerators that are 0."""
    return xp.where(value > 0.0, value, 1.0)
