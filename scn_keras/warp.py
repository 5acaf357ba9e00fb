"""Sampling grids: maps from the pixels of a grid to an image, and their inverse.

A map takes index coordinates p of a grid to index coordinates of an image,

    image point = A (p + d(p)),

with an affine A and a uniform cubic B-spline d, the elastic part. It has n control
points along each axis, the first and last of which lie outside the grid: n - 3 cells
cover the grid from edge to edge, as in ITK's `BSplineTransform` (Rueckert et al., IEEE
TMI 18, 1999). Beyond the edges d is constant. `bounded` limits d so that no map folds.
Each map then has a unique inverse, which `invert_map` computes by Newton's method.

The same functions work for NumPy, for graphs of `tf.data` with any Keras backend, and
for tensors of the backend on any device. Each function takes an array namespace `xp`
with the function names of `keras.ops`, see `scn_keras.array_api`. Points are in
x, y(, z), sizes in array order. Leading axes (`...`) are batch axes.
"""

import math
import warnings
from typing import Any

import numpy as np

from scn_keras.array_api import KERAS as KERAS
from scn_keras.array_api import NUMPY as NUMPY
from scn_keras.array_api import sum_of_products as sum_of_products
from scn_keras.geometry import apply_affine, usable_spacing

# A uniform cubic B-spline of two or three variables is injective if its displacements
# are at most 1 / 2.046 or 1 / 2.479 of the distance of control points: Choi and Lee,
# Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models
# 62, 2000.
INJECTIVE = {2: 0.48, 3: 0.40}

_NEWTON_STEPS = 6


def add_axes(values, d):
    """Appends D axes of length 1."""
    return values[(..., *[None] * d)]


def grid_axes(grid, xp=KERAS):
    """Returns the indices along x, y(, z), shaped to broadcast over the grid."""
    return [
        xp.convert_to_tensor(np.arange(size, dtype="float32").reshape(-1, *[1] * axis))
        for axis, size in enumerate(reversed(grid))
    ]


def bounded(elastic, grid, xp=KERAS):
    """Clips the displacements of control points so that no deformation folds.

    Args:
        elastic: Array `(..., D, *n)` in pixels of the grid, see `sampling_grid`.
        grid: Tuple of D ints, the sizes of the grid in array order.
        xp: The array namespace.

    Returns:
        Array of the same shape.
    """
    d = len(grid)
    cells = np.array(grid[::-1]) / (np.array(elastic.shape[-d:])[::-1] - 3)
    limit = add_axes((INJECTIVE[d] * cells).astype("float32"), d)
    limit = xp.convert_to_tensor(limit)
    return xp.minimum(xp.maximum(elastic, -limit), limit)


def sampling_grid(affine, grid, elastic=None, xp=KERAS):
    """Maps every pixel of a grid to an image.

    Args:
        affine: float32 array `(..., D + 1, D + 1)`, from the grid to the image.
        grid: Tuple of D ints, the sizes of the grid in array order.
        elastic: float32 array `(..., D, *n)` or `None`: the displacements in x, y(, z)
            of n control points along each axis (array order), in pixels of the grid.
        xp: The array namespace.

    Returns:
        List of D arrays `(..., *grid)`, the coordinates in x, y(, z).

    Example:

    >>> x, y = scn_keras.warp.sampling_grid(
    ...     np.diag([2.0, 3.0, 1.0]), (2, 3), xp=scn_keras.warp.NUMPY
    ... )
    >>> x.tolist(), y.tolist()
    ([[0.0, 2.0, 4.0], [0.0, 2.0, 4.0]], [[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    """
    d = len(grid)
    if elastic is None:
        axes = grid_axes(grid, xp)
        coordinates = []
        for row in range(d):
            terms = [a * add_axes(affine[..., row, k], d) for k, a in enumerate(axes)]
            coordinates.append(
                sum(terms[1:], terms[0]) + add_axes(affine[..., row, d], d)
            )
        return coordinates
    # The spline whose coefficients are the coordinates of the control points is the
    # identity, so the affine can be applied to the coefficients. Coordinates are
    # relative to the centre, because small numbers lose fewer digits.
    middle = (np.array(grid[::-1]) - 1.0) / 2.0
    counts = elastic.shape[-d:]
    axes = [
        np.arange(-1.0, count - 1.0) * size / (count - 3) - 0.5 - m
        for size, count, m in zip(grid, counts, middle[::-1], strict=True)
    ]
    identity = np.stack(np.meshgrid(*axes, indexing="ij")[::-1]).astype("float32")
    moved = elastic + xp.convert_to_tensor(identity)
    all_cells = (slice(None),) * d
    field = sum(
        add_axes(affine[..., :d, k], d) * moved[(..., slice(k, k + 1), *all_cells)]
        for k in range(d)
    )
    for axis, (size, count) in enumerate(zip(grid, counts, strict=True)):
        weights, _ = _basis(np.arange(size)[:, None], [size], count, NUMPY)
        weights = xp.convert_to_tensor(weights[:, 0].astype("float32"))
        field = along_axis(weights, field, axis, d, xp, xp.contract)
    middle = xp.convert_to_tensor(middle[None].astype("float32"))
    center = apply_affine(affine, middle)[..., 0, :]
    field = field + add_axes(center, d)
    return [field[(..., k, *all_cells)] for k in range(d)]


def map_points(affine, points, grid, elastic=None, xp=KERAS):
    """Maps points of a grid to an image, by the same map as `sampling_grid`.

    Args:
        affine, grid, elastic, xp: See `sampling_grid`.
        points: float32 array `(..., N, D)`, in pixels of the grid.

    Returns:
        Array `(..., N, D)`, in pixels of the image.
    """
    if elastic is not None:
        points = points + _deformation(points, grid, elastic, xp)[0]
    return apply_affine(affine, points)


def invert_map(affine, points, grid, elastic=None, xp=KERAS):
    """Maps points of an image to a grid: the inverse of `map_points`.

    If the elastic part is `bounded`, the error is below 0.001 pixels of the grid.

    Args:
        affine, grid, elastic, xp: See `sampling_grid`.
        points: float32 array `(..., N, D)`, in pixels of the image. A NaN row stays
            NaN.

    Returns:
        Array `(..., N, D)`, in pixels of the grid.
    """
    target = apply_affine(xp.inv(affine), points)
    if elastic is None:
        return target
    missing = xp.isnan(target)
    target = xp.where(missing, 0.0, target)
    solution = target
    identity = xp.convert_to_tensor(np.eye(points.shape[-1], dtype="float32"))
    for _ in range(_NEWTON_STEPS):
        displacement, slopes = _deformation(solution, grid, elastic, xp)
        error = (solution + displacement - target)[..., None]
        solution = solution - xp.solve(identity + slopes, error)[..., 0]
    return xp.where(missing, math.nan, solution)


def aspect_of(affine, xp=KERAS):
    """Returns the spacing x, y(, z) of an affine, ones where it is not usable.

    Args:
        affine: Array `(..., D + 1, D + 1)`, pixels to millimetres.
        xp: The array namespace.

    Returns:
        Array `(..., D)`.
    """
    spacing = usable_spacing(affine, xp)
    return xp.where(spacing > 0.0, spacing, xp.cast(1.0, spacing.dtype))


def pad_border(image, d, outside, xp=KERAS):
    """Pads an image `(..., *sizes)` of D axes by one pixel with the value `outside`."""
    batch = len(image.shape) - d
    return xp.pad(image, [[0, 0]] * batch + [[1, 1]] * d, constant_values=outside)


def interpolate(image, coordinates, xp=KERAS, sizes=None):
    """Interpolates an image linearly at given coordinates.

    Args:
        image: float32 array `(..., *sizes)`, padded with a border by `pad_border`. At
            coordinates less than a pixel outside the image, the result is interpolated
            between the image and the border (as with SciPy's `grid-constant`). Farther
            outside, it is the value of the border.
        coordinates: List of D arrays `(..., *grid)`, x, y(, z) in pixels of the image
            without its border.
        xp: The array namespace.
        sizes: int array `(..., D)` or `None`. For images of different sizes in one
            batch, `image` is flat, `(..., n)`, with arbitrary values after the last
            pixel of each image, and this array has the sizes with the border.

    Returns:
        float32 array `(..., *grid)`.
    """
    d = len(coordinates)
    shape = xp.shape(image)
    if sizes is None:
        batch, lengths, count = shape[:-d], shape[-d:], math.prod(shape[-d:])
    else:
        sizes = xp.convert_to_tensor(sizes)
        batch, lengths, count = (
            shape[:-1],
            [add_axes(sizes[..., k], d) for k in range(d)],
            shape[-1],
        )
    corners, weights = [], []
    for coordinate, size in zip(reversed(coordinates), lengths, strict=True):
        limit = xp.cast(size - 2, "float32")
        coordinate = xp.clip(coordinate + 1.0, 0.0, limit + 1.0)
        corner = xp.minimum(xp.floor(coordinate), limit)
        weights.append(coordinate - corner)
        corners.append(xp.cast(corner, "int32"))
    strides = [math.prod(lengths[axis + 1 :]) for axis in range(d)]
    first = sum(corner * s for corner, s in zip(corners, strides, strict=True))
    for axis, size in enumerate(batch):
        stride = count * math.prod(batch[axis + 1 :])
        first = first + add_axes(xp.arange(size) * stride, d + len(batch) - 1 - axis)
    flat = xp.reshape(image, (-1,))
    return _blend(flat, first, strides, weights, xp)


def along_axis(matrix, field, axis, d, xp, product):
    """Multiplies one of the last D axes of a field by a matrix.

    Args:
        matrix: Array `(..., m, n)`.
        field: Array `(..., *sizes)` whose length along the axis is n.
        axis: Int, from 0 to D - 1.
        d: Int, the number of spatial axes D.
        xp: The array namespace.
        product: The matrix product to use.
    """
    shape = xp.shape(field)
    batch, before, after = shape[:-d], shape[-d:][:axis], shape[-d:][axis + 1 :]
    sheets = (*batch, math.prod(before), shape[-d:][axis], math.prod(after))
    result = product(matrix, xp.reshape(field, sheets))
    return xp.reshape(result, (*batch, *before, matrix.shape[-2], *after))


def _blend(flat, first, strides, weights, xp):
    if not strides:
        return xp.take(flat, first)
    low = _blend(flat, first, strides[1:], weights[1:], xp)
    high = _blend(flat, first + strides[0], strides[1:], weights[1:], xp)
    return low * (1.0 - weights[0]) + high * weights[0]


def _deformation(points, grid, elastic, xp):
    """Returns d `(..., N, D)` and its derivative `(..., N, D, D)` at points."""
    d = len(grid)
    weights, slopes = _basis(points, grid[::-1], elastic.shape[-1], xp)

    def contract(factors):
        field = elastic[(..., None, *[slice(None)] * (d + 1))]
        for k in range(d):  # x is the last axis
            factor = factors[k][(..., slice(None), k, *[None] * (d - k), slice(None))]
            field = xp.sum(field * factor, axis=-1)
        return field

    derivative = [
        contract([slopes if k == axis else weights for k in range(d)])
        for axis in range(d)
    ]
    return contract([weights] * d), xp.stack(derivative, axis=-1)


def _basis(points, sizes, count, xp):
    """Returns weights of control points and their derivatives, both `(..., D, n)`.

    The cubic B-spline is computed from truncated powers, without distinguishing cases.
    """
    scale = ((count - 3) / np.array(sizes)).astype("float32")
    scale = xp.convert_to_tensor(scale)
    coordinate = (points + 0.5) * scale
    inside = xp.clip(coordinate, 0.0, count - 3.0)
    centers = xp.convert_to_tensor(np.arange(-1, count - 1, dtype="float32"))
    distance = inside[..., None] - centers
    far = xp.maximum(2.0 - abs(distance), 0.0)
    near = xp.maximum(1.0 - abs(distance), 0.0)
    weights = (far * far * far - 4.0 * near * near * near) / 6.0
    slope = xp.sign(distance) * (2.0 * near * near - 0.5 * far * far)
    slope = slope * scale[:, None]
    return weights, xp.where((coordinate == inside)[..., None], slope, 0.0)


# Names of version 0.1.
_RENAMED = {"lattice": "sampling_grid", "spread": "add_axes"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(
            f"scn_keras.warp.{name} is now scn_keras.warp.{new}",
            FutureWarning,
            stacklevel=2,
        )
        return globals()[new]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
