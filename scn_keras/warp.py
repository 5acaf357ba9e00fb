"""Deformed lattices: where the pixels of a grid lie in an image, and the way back.

A map takes index coordinates p of a grid to those of an image,

    image point = A (p + d(p)),

with an affine A and a uniform cubic B-spline d, the elastic part. Of the n control
points an axis, the first and the last stand outside: n - 3 cells cover the grid from
edge to edge, as those of ITK's `BSplineTransform` cover its domain (Rueckert et al.,
IEEE TMI 18, 1999). Beyond the edges d keeps its value. `bounded` keeps d so small
that no map folds: each has one inverse, which `invert_map` finds by Newton's method.

One definition serves NumPy, graphs of `tf.data` whatever the backend of Keras, and
tensors of the backend on any device: every function takes the library as `arrays`, an
object with functions under the names of `keras.ops`. Points are in x, y(, z), sizes
in array order; leading axes (`...`) are batches.
"""

import math
import types

import keras
import numpy as np
from keras import ops

from scn_keras.geometry import apply_affine

# Up to 1 / 2.046 and 1 / 2.479 of the distance of control points, a uniform cubic
# B-spline of two or three variables is one to one: Choi and Lee, Injectivity conditions
# of 2D and 3D uniform cubic B-spline functions, Graphical Models 62, 2000.
INJECTIVE = {2: 0.48, 3: 0.40}

_NEWTON_STEPS = 6


def sum_of_products(a, b):
    """`a @ b` of a narrow `a` in full precision, also on a GPU.

    A matrix product rounds its factors to 10 or 7 bits there (TF32, bfloat16).
    """
    terms = [a[..., :, k, None] * b[..., k, None, :] for k in range(a.shape[-1])]
    return sum(terms[1:], terms[0])


_COMMON = (
    "abs arange clip cos exp floor isnan matmul maximum mean minimum pad "
    "reshape shape sign sin sort sqrt stack sum take where"
).split()


def _random(seed, stream):
    # A seed may be several integers; NumPy 2.5 takes no nested sequences.
    return np.random.default_rng([*np.ravel(seed), stream])


def _fori_loop(lower, upper, body_fun, init_val):
    for number in range(lower, upper):
        init_val = body_fun(number, init_val)
    return init_val


NUMPY = types.SimpleNamespace(
    **{name: getattr(np, name) for name in _COMMON},
    cast=np.asarray,
    convert_to_tensor=np.asarray,
    contract=np.matmul,
    det=np.linalg.det,
    fori_loop=_fori_loop,
    inv=np.linalg.inv,
    solve=np.linalg.solve,
    svd=np.linalg.svd,
    normal=lambda seed, shape: _random(seed, 1).normal(size=shape),
    uniform=lambda seed, shape: _random(seed, 0).uniform(-1, 1, shape),
)
KERAS = types.SimpleNamespace(
    **{name: getattr(ops, name) for name in _COMMON},
    cast=ops.cast,
    convert_to_tensor=ops.convert_to_tensor,
    contract=sum_of_products,
    det=ops.linalg.det,
    fori_loop=ops.fori_loop,
    inv=ops.linalg.inv,
    solve=ops.linalg.solve,
    svd=ops.linalg.svd,
    normal=lambda seed, shape: keras.random.normal(shape, seed=seed),
    uniform=lambda seed, shape: keras.random.uniform(shape, -1.0, 1.0, seed=seed),
)


def spread(values, d):
    """Adds D axes of length 1 at the end."""
    return values[(..., *[None] * d)]


def grid_axes(grid, arrays=KERAS):
    """Returns the indices along x, y(, z), shaped to broadcast over the grid."""
    return [
        arrays.convert_to_tensor(
            np.arange(size, dtype="float32").reshape(-1, *[1] * axis)
        )
        for axis, size in enumerate(reversed(grid))
    ]


def bounded(elastic, grid, arrays=KERAS):
    """Cuts displacements of control points to where no deformation folds.

    Args:
        elastic: Array `(..., D, *n)` in pixels of the grid, see `lattice`.
        grid: Tuple of D ints, the sizes of the grid in array order.
        arrays: The library, see above.

    Returns:
        Array of the same shape.
    """
    d = len(grid)
    cells = np.array(grid[::-1]) / (np.array(elastic.shape[-d:])[::-1] - 3)
    limit = spread((INJECTIVE[d] * cells).astype("float32"), d)
    limit = arrays.convert_to_tensor(limit)
    return arrays.minimum(arrays.maximum(elastic, -limit), limit)


def lattice(affine, grid, elastic=None, arrays=KERAS):
    """Maps every pixel of a grid to an image.

    Args:
        affine: float32 array `(..., D + 1, D + 1)`, from the grid to the image.
        grid: Tuple of D ints, the sizes of the grid in array order.
        elastic: float32 array `(..., D, *n)` or `None`: the displacements in x, y(, z)
            of n control points an axis (array order), in pixels of the grid.
        arrays: The library, see above.

    Returns:
        List of D arrays `(..., *grid)`: the places in x, y(, z).

    Example:

    >>> x, y = scn_keras.warp.lattice(
    ...     np.diag([2.0, 3.0, 1.0]), (2, 3), arrays=scn_keras.warp.NUMPY
    ... )
    >>> x.tolist(), y.tolist()
    ([[0.0, 2.0, 4.0], [0.0, 2.0, 4.0]], [[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    """
    d = len(grid)
    if elastic is None:
        axes = grid_axes(grid, arrays)
        places = []
        for row in range(d):
            terms = [a * spread(affine[..., row, k], d) for k, a in enumerate(axes)]
            places.append(sum(terms[1:], terms[0]) + spread(affine[..., row, d], d))
        return places
    # The spline through the control points' own places is the identity: so the affine
    # goes into the coefficients. Seen from the middle, numbers are small and keep
    # digits.
    middle = (np.array(grid[::-1]) - 1.0) / 2.0
    counts = elastic.shape[-d:]
    axes = [
        np.arange(-1.0, count - 1.0) * size / (count - 3) - 0.5 - m
        for size, count, m in zip(grid, counts, middle[::-1], strict=True)
    ]
    own = np.stack(np.meshgrid(*axes, indexing="ij")[::-1]).astype("float32")
    moved = elastic + arrays.convert_to_tensor(own)
    every = (slice(None),) * d
    field = sum(
        spread(affine[..., :d, k], d) * moved[(..., slice(k, k + 1), *every)]
        for k in range(d)
    )
    for axis, (size, count) in enumerate(zip(grid, counts, strict=True)):
        weights, _ = _basis(np.arange(size)[:, None], [size], count, NUMPY)
        weights = arrays.convert_to_tensor(weights[:, 0].astype("float32"))
        field = along_axis(weights, field, axis, d, arrays, arrays.contract)
    middle = arrays.convert_to_tensor(middle[None].astype("float32"))
    center = apply_affine(affine, middle)[..., 0, :]
    field = field + spread(center, d)
    return [field[(..., k, *every)] for k in range(d)]


def map_points(affine, points, grid, elastic=None, arrays=KERAS):
    """Maps points of a grid to an image: what `lattice` does, anywhere.

    Args:
        affine, grid, elastic, arrays: See `lattice`.
        points: float32 array `(..., N, D)`, in pixels of the grid.

    Returns:
        Array `(..., N, D)`, in pixels of the image.
    """
    if elastic is not None:
        points = points + _deformation(points, grid, elastic, arrays)[0]
    return apply_affine(affine, points)


def invert_map(affine, points, grid, elastic=None, arrays=KERAS):
    """Maps points of an image to a grid: the inverse of `map_points`.

    Where the elastic part is `bounded`, the result is within 0.001 pixels of the grid.

    Args:
        affine, grid, elastic, arrays: See `lattice`.
        points: float32 array `(..., N, D)`, in pixels of the image. A NaN row stays
            NaN.

    Returns:
        Array `(..., N, D)`, in pixels of the grid.
    """
    target = apply_affine(arrays.inv(affine), points)
    if elastic is None:
        return target
    missing = arrays.isnan(target)
    target = arrays.where(missing, 0.0, target)
    found = target
    identity = arrays.convert_to_tensor(np.eye(points.shape[-1], dtype="float32"))
    for _ in range(_NEWTON_STEPS):
        moved, slopes = _deformation(found, grid, elastic, arrays)
        error = (found + moved - target)[..., None]
        found = found - arrays.solve(identity + slopes, error)[..., 0]
    return arrays.where(missing, math.nan, found)


def aspect_of(affine, arrays=KERAS):
    """Returns the spacing x, y(, z) of an affine, ones where it is not usable.

    Args:
        affine: Array `(..., D + 1, D + 1)`.
        arrays: The library, see above.

    Returns:
        Array `(..., D)`.
    """
    d = affine.shape[-1] - 1
    linear = affine[..., :d, :d]
    spacing = arrays.sqrt(arrays.sum(linear * linear, axis=-2))
    usable = arrays.cast((spacing > 0.0) & (spacing < math.inf), "int32")
    calibrated = arrays.sum(usable, axis=-1)[..., None] == d
    return arrays.where(calibrated, spacing, 1.0)


def pad_border(image, d, outside, arrays=KERAS):
    """Puts one pixel of `outside` around an image `(..., *sizes)` of D axes."""
    batch = len(image.shape) - d
    return arrays.pad(image, [[0, 0]] * batch + [[1, 1]] * d, constant_values=outside)


def interpolate(image, places, arrays=KERAS, sizes=None):
    """Interpolates an image linearly at given places.

    Args:
        image: float32 array `(..., *sizes)` that `pad_border` has put a border around:
            places less than a pixel from the image are a blend with it (as SciPy's
            `grid-constant`), those farther out are as it is.
        places: List of D arrays `(..., *grid)`, x, y(, z) in pixels of the image
            without its border.
        arrays: The library, see above.
        sizes: int array `(..., D)`, the sizes with the border where images are given
            flat, as `(..., n)` with anything after their last pixels: those of a
            batch may differ in size.

    Returns:
        float32 array `(..., *grid)`.
    """
    d = len(places)
    shape = arrays.shape(image)
    if sizes is None:
        batch, lengths, count = shape[:-d], shape[-d:], math.prod(shape[-d:])
    else:
        sizes = arrays.convert_to_tensor(sizes)
        batch, lengths, count = (
            shape[:-1],
            [spread(sizes[..., k], d) for k in range(d)],
            shape[-1],
        )
    corners, weights = [], []
    for place, size in zip(reversed(places), lengths, strict=True):
        limit = arrays.cast(size - 2, "float32")
        place = arrays.clip(place + 1.0, 0.0, limit + 1.0)
        corner = arrays.minimum(arrays.floor(place), limit)
        weights.append(place - corner)
        corners.append(arrays.cast(corner, "int32"))
    strides = [math.prod(lengths[axis + 1 :]) for axis in range(d)]
    first = sum(corner * s for corner, s in zip(corners, strides, strict=True))
    for axis, size in enumerate(batch):
        stride = count * math.prod(batch[axis + 1 :])
        first = first + spread(arrays.arange(size) * stride, d + len(batch) - 1 - axis)
    flat = arrays.reshape(image, (-1,))
    return _blend(flat, first, strides, weights, arrays)


def along_axis(matrix, field, axis, d, arrays, product):
    """Multiplies one of the last D axes of a field by a matrix.

    Args:
        matrix: Array `(..., m, n)`.
        field: Array `(..., *sizes)`, n long on that axis.
        axis: Int, from 0 to D - 1.
        product: The matrix product to use.
    """
    shape = arrays.shape(field)
    batch, before, after = shape[:-d], shape[-d:][:axis], shape[-d:][axis + 1 :]
    sheets = (*batch, math.prod(before), shape[-d:][axis], math.prod(after))
    result = product(matrix, arrays.reshape(field, sheets))
    return arrays.reshape(result, (*batch, *before, matrix.shape[-2], *after))


def _blend(flat, first, strides, weights, arrays):
    if not strides:
        return arrays.take(flat, first)
    low = _blend(flat, first, strides[1:], weights[1:], arrays)
    high = _blend(flat, first + strides[0], strides[1:], weights[1:], arrays)
    return low * (1.0 - weights[0]) + high * weights[0]


def _deformation(points, grid, elastic, arrays):
    """Returns d `(..., N, D)` and its derivative `(..., N, D, D)` by the point."""
    d = len(grid)
    weights, slopes = _basis(points, grid[::-1], elastic.shape[-1], arrays)

    def contract(factors):
        field = elastic[(..., None, *[slice(None)] * (d + 1))]
        for k in range(d):  # x is the last axis
            factor = factors[k][(..., slice(None), k, *[None] * (d - k), slice(None))]
            field = arrays.sum(field * factor, axis=-1)
        return field

    derivative = [
        contract([slopes if k == axis else weights for k in range(d)])
        for axis in range(d)
    ]
    return contract([weights] * d), arrays.stack(derivative, axis=-1)


def _basis(points, sizes, count, arrays):
    """Weights of the control points and their derivatives, both `(..., D, n)`.

    The cubic B-spline is the difference of truncated powers, without any case.
    """
    scale = ((count - 3) / np.array(sizes)).astype("float32")
    scale = arrays.convert_to_tensor(scale)
    place = (points + 0.5) * scale
    inside = arrays.clip(place, 0.0, count - 3.0)
    own = arrays.convert_to_tensor(np.arange(-1, count - 1, dtype="float32"))
    distance = inside[..., None] - own
    far = arrays.maximum(2.0 - abs(distance), 0.0)
    near = arrays.maximum(1.0 - abs(distance), 0.0)
    weights = (far * far * far - 4.0 * near * near * near) / 6.0
    slope = arrays.sign(distance) * (2.0 * near * near - 0.5 * far * far)
    slope = slope * scale[:, None]
    return weights, arrays.where((place == inside)[..., None], slope, 0.0)
