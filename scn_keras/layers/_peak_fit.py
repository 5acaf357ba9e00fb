"""Estimates the position and the covariance of a peak from the pixels around it.

Values have the shape `(..., pixels)`, offsets `(pixels, D)` in array order. The axes of
all results are ordered x, y(, z). Matrix products are written as sums of products,
because float32 matrix products are less precise on GPUs. No operation of linear algebra
is used, because ONNX and LiteRT have none.
"""

import itertools

import numpy as np
from keras import ops

_REWEIGHTINGS = 3


def cube(radius, rank):
    """Returns the offsets of a window, `((2 radius + 1)^rank, rank)`."""
    steps = range(-radius, radius + 1)
    return np.array(list(itertools.product(steps, repeat=rank)))


def star(rank):
    """Returns the offsets used by first and second differences, no corners in 3D."""
    offsets = cube(1, rank)
    return offsets[np.abs(offsets).sum(axis=1) <= 2]


def dot(values, matrix):
    """Contracts the last axis of `values` with the first of a constant matrix."""
    matrix = ops.convert_to_tensor(matrix, "float32")
    shape = [1] * len(matrix.shape[1:])
    values = ops.reshape(values, (*ops.shape(values), *shape))
    return ops.sum(values * matrix, axis=-1 - len(shape))


def central_differences(values, offsets):
    """Returns slope `(..., D)` and curvature `(..., D, D)` at offset 0 of a star."""
    rank = offsets.shape[1]
    offsets = offsets[:, ::-1]
    steps = np.abs(offsets).sum(axis=1)
    slope = np.where(steps[:, None] == 1, 0.5 * offsets, 0.0)
    curvature = 0.25 * offsets[:, :, None] * offsets[:, None, :]
    curvature[steps < 2] = 0.0
    for axis in range(rank):
        curvature[:, axis, axis] = np.where(steps == 1, np.abs(offsets[:, axis]), 0.0)
        curvature[steps == 0, axis, axis] = -2.0
    return dot(values, slope), dot(values, curvature)


def smooth(values, offsets, targets, sigma):
    """Smooths pixels with a Gaussian around each target offset, `(..., targets)`."""
    squared = np.sum((offsets[:, None] - targets[None]) ** 2, axis=-1)
    kernel = np.exp(-0.5 * squared / sigma**2)
    return dot(values, kernel / kernel.sum(axis=0))


def fit_gaussian(values, inside, offsets, floor):
    """Fits a Gaussian and returns slope and curvature of its logarithm at offset 0.

    A quadratic is fitted to the logarithm by weighted least squares. If all pixels have
    the same noise, the noise of the logarithm is inversely proportional to the value.
    The first fit therefore uses the squared values as weights. The following fits use
    the squared fitted values, which are free of noise. Three reweightings are enough
    for a peak of sigma 1 in a window of 13 px.

    Reference: Guo, IEEE Signal Processing Magazine 28(5), 2011.
    """
    rank, radius = offsets.shape[1], offsets.max()
    unit = offsets[:, ::-1] / radius
    axes = np.eye(rank, dtype=int)
    pairs = list(itertools.combinations_with_replacement(range(rank), 2))
    powers = np.array([0 * axes[0], *axes, *(axes[i] + axes[j] for i, j in pairs)])
    basis = _monomials(unit, powers)
    # The distinct products of two monomials, and the index of each pair's product.
    products, product_of_pair = np.unique(
        (powers[:, None] + powers[None]).reshape(-1, rank), axis=0, return_inverse=True
    )
    product_of_pair = ops.convert_to_tensor(
        product_of_pair.reshape(len(powers), -1), "int32"
    )
    products = _monomials(unit, products)

    usable = ops.logical_and(inside, values > floor)
    top = ops.maximum(ops.max(values, axis=-1, keepdims=True), floor)
    log = ops.log(ops.maximum(values, floor) / top)
    fitted = log
    for _ in range(1 + _REWEIGHTINGS):
        # No pixel is weighted higher than the largest one.
        weight = ops.exp(2.0 * ops.minimum(fitted, 0.0))
        weight = ops.where(usable, weight, 0.0)
        matrix = ops.take(dot(weight, products), product_of_pair, axis=-1)
        right = dot(weight * log, basis)
        coefficients = solve(matrix, right[..., None])[..., 0]
        fitted = dot(coefficients, basis.T)

    hessians = np.zeros((len(pairs), rank, rank))
    for number, (i, j) in enumerate(pairs):
        hessians[number, i, j] += 1.0 / radius**2
        hessians[number, j, i] += 1.0 / radius**2
    slope = coefficients[..., 1 : 1 + rank] / float(radius)
    return slope, dot(coefficients[..., 1 + rank :], hessians)


def _unit(size):
    return ops.convert_to_tensor(np.eye(size), "float32")


def _monomials(coordinates, powers):
    return np.prod(coordinates[:, None] ** powers[None], axis=-1)


def solve(matrix, right):
    """Solves positive definite systems `(..., M, M)` by elimination.

    It takes M steps over all systems at once, without pivoting. Matrices that are not
    positive definite give finite but meaningless numbers.
    """
    size = matrix.shape[-1]
    unit = _unit(size)
    scale = ops.sum(matrix * unit, axis=-1)
    scale = 1.0 / ops.sqrt(ops.maximum(scale, 1e-12))
    matrix = matrix * scale[..., :, None] * scale[..., None, :]
    system = ops.concatenate([matrix, right * scale[..., None]], axis=-1)
    for i in range(size):
        row = system[..., i : i + 1, :]
        row = row / ops.maximum(row[..., i : i + 1], 1e-6)
        # Row i becomes `row`, and column i of the other rows becomes zero.
        factor = system[..., i : i + 1] - unit[:, i : i + 1]
        system = system - factor * row
    return system[..., size:] * scale[..., None]


def newton(slope, curvature):
    """Returns the maximum of a quadratic logarithm and the Gaussian's covariance.

    Returns:
        The step to the maximum `(..., D)` in px, the covariance `(..., D, D)` in px²,
        which is positive definite, and `(..., D)` whether the logarithm is concave
        along the axis. Along an axis that is not concave, the step is 0 and the
        variance is 1e6 px².
    """
    rank = slope.shape[-1]
    unit = _unit(rank)
    diagonal = -ops.sum(curvature * unit, axis=-1)
    concave = diagonal > 0.0
    scale = ops.sqrt(ops.maximum(diagonal, 1e-6))
    both = ops.logical_and(concave[..., :, None], concave[..., None, :])
    mixed = -curvature * (1.0 - unit) / (scale[..., :, None] * scale[..., None, :])
    mixed = ops.where(both, mixed, 0.0)
    pairs = [mixed[..., i, j] for i, j in itertools.combinations(range(rank), 2)]
    if pairs:
        determinant = 1.0 - sum(ops.square(r) for r in pairs)
        if rank == 3:
            determinant = determinant + 2.0 * pairs[0] * pairs[1] * pairs[2]
        largest = ops.max(ops.abs(mixed), axis=(-2, -1))
        definite = ops.logical_and(largest < 0.95, determinant > 0.02)
        limit = 0.95 / (rank - 1)
        mixed = ops.where(
            definite[..., None, None], mixed, ops.clip(mixed, -limit, limit)
        )
    inverse = solve(mixed + unit, ops.broadcast_to(unit, ops.shape(mixed)))
    covariance = inverse / (scale[..., :, None] * scale[..., None, :])
    slope = ops.where(concave, slope, 0.0)
    step = ops.sum(covariance * slope[..., None, :], axis=-1)
    return step, covariance, concave


def steps_by_axis(slope, curvature):
    """Returns the step to the maximum of the parabola along each axis.

    It is 0 along an axis where the parabola has no maximum.
    """
    diagonal = ops.sum(curvature * _unit(slope.shape[-1]), axis=-1)
    concave = diagonal < 0.0
    return ops.where(concave, -slope / ops.where(concave, diagonal, -1.0), 0.0)


def moments(weights, offsets):
    """Returns weighted mean `(..., D)` and covariance `(..., D, D)` of offsets."""
    offsets = offsets[:, ::-1].astype("float32")
    total = ops.sum(weights, axis=-1, keepdims=True)
    weights = weights / ops.where(total > 0.0, total, 1.0)
    mean = dot(weights, offsets)
    square = dot(weights, offsets[:, :, None] * offsets[:, None, :])
    return mean, square - mean[..., :, None] * mean[..., None, :]


def whole_moments(weights, center):
    """Returns the moments of whole heatmaps, relative to one pixel of each.

    Args:
        weights: `(batch, *spatial, landmarks)`, positive at `center`.
        center: List by axis of int32 `(batch, landmarks)`.
    """
    axes = range(len(center) - 1, -1, -1)  # x, y(, z)
    # Relative to the pixel, because squares of absolute coordinates would cancel.
    offsets = [
        ops.cast(ops.arange(size)[None, :, None] - i[:, None, :], "float32")
        for size, i in zip(ops.shape(weights)[1:-1], center, strict=True)
    ]

    def marginal(*kept):
        return ops.sum(weights, axis=[a + 1 for a in axes if a not in kept])

    total = marginal()
    lines = {i: marginal(i) * offsets[i] / total[:, None] for i in axes}
    mean = ops.stack([ops.sum(lines[i], axis=1) for i in axes], axis=-1)
    square = {(i, i): ops.sum(lines[i] * offsets[i], axis=1) for i in axes}
    for i, j in itertools.combinations(sorted(axes), 2):
        inner = ops.sum(marginal(i, j) * offsets[j][:, None], axis=2)
        square[i, j] = square[j, i] = ops.sum(inner * offsets[i], axis=1) / total
    square = ops.stack(
        [ops.stack([square[i, j] for j in axes], axis=-1) for i in axes], axis=-2
    )
    return mean, square - mean[..., :, None] * mean[..., None, :]
