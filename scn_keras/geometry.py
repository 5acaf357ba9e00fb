"""Affine maps between index coordinates of images, grids and millimetres.

Points are `(..., N, D)` with columns x, y(, z). The centres of pixels have integer
coordinates, so that an image of width W extends from -0.5 to W - 0.5. An affine is
`(..., D + 1, D + 1)` and maps a column vector (x, y(, z), 1). The functions use only
operators, indexing and array namespaces (`xp`), so that one definition works for NumPy,
TensorFlow graphs and the tensors of every Keras backend.
"""

from typing import Any

import numpy as np

# The range of usable spacings in mm, see `spacing_is_usable`.
MIN_SPACING, MAX_SPACING = 1e-6, 1e6
MAX_ANISOTROPY = 20.0


def apply_affine(affine, points):
    """Maps points through an affine.

    Args:
        affine: Array `(..., D + 1, D + 1)`; leading axes broadcast against those
            of `points` before its landmark axis.
        points: Array `(..., N, D)`. A NaN row (a missing landmark) stays NaN.

    Returns:
        Array `(..., N, D)`.

    Example:

    >>> apply_affine(np.diag([0.1, 0.1, 1.0]), np.array([[10.0, 20.0]]))
    array([[1., 2.]])
    """
    # A matrix product would be too inaccurate: GPUs round its factors to 10 or 7 bits
    # (TF32, bfloat16), which moves the point (1935, 2400) by a pixel.
    d = points.shape[-1]
    result = affine[..., None, :d, d]
    for k in range(d):
        result = result + affine[..., None, :d, k] * points[..., k : k + 1]
    return result


def apply_to_covariance(affine, covariance):
    """Maps covariances of points through an affine.

    Args:
        affine: Array `(..., D + 1, D + 1)`; leading axes broadcast against those
            of `covariance` before its landmark axis.
        covariance: Array `(..., N, D, D)`.

    Returns:
        Array `(..., N, D, D)`.

    Example:

    >>> apply_to_covariance(np.diag([0.1, 0.2, 1.0]), np.eye(2)[None]).round(6)
    array([[[0.01, 0.  ],
            [0.  , 0.04]]])
    """
    # Without matrix products, see `apply_affine`.
    d = covariance.shape[-1]
    linear = affine[..., None, :d, :d]
    left: Any = 0.0
    for k in range(d):
        left = left + linear[..., :, k, None] * covariance[..., k, None, :]
    result = 0.0
    for k in range(d):
        result = result + left[..., :, k, None] * linear[..., None, :, k]
    return result


def mixture(points, score, covariance, xp):
    """Combines several estimates of each point to their mean and covariance.

    Points are weighted by score. The covariance is that of the mixture distribution, so
    that it includes the variance between the estimates.

    Args:
        points: Array `(B, V, N, D)` of V estimates.
        score: Array `(B, V, N)`.
        covariance: Array `(B, V, N, D, D)`.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Mean points `(B, N, D)`, mean scores `(B, N)` and covariances `(B, N, D, D)`.

    Example:

    >>> points = np.array([[[[1.0, 0.0]], [[3.0, 0.0]]]])
    >>> score, covariance = np.ones((1, 2, 1)), np.zeros((1, 2, 1, 2, 2))
    >>> from scn_keras.array_api import NUMPY
    >>> mean, score, covariance = mixture(points, score, covariance, NUMPY)
    >>> mean.tolist(), covariance.tolist()
    ([[[2.0, 0.0]]], [[[[1.0, 0.0], [0.0, 0.0]]]])
    """
    # The sum of the weights is positive even if all scores are 0.
    weight = (score + 1e-6)[..., None]
    weight = weight / xp.sum(weight, axis=1)[:, None]
    mean = xp.sum(weight * points, axis=1)
    residual = points - mean[:, None]
    covariance = covariance + residual[..., :, None] * residual[..., None, :]
    return (
        mean,
        xp.mean(score, axis=1),
        xp.sum(weight[..., None] * covariance, axis=1),
    )


def spacing_is_usable(spacing, xp):
    """Returns whether spacings are plausible for an image of a patient or specimen.

    A spacing is usable if every number is from 1e-6 mm to 1e6 mm (a nanometre to a
    kilometre) and the largest is at most 20 times the smallest, which allows for thick
    slices. Zero, negative numbers, NaN and infinity are not usable.

    Args:
        spacing: Array `(..., D)`, mm per pixel in x, y(, z).
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Bool array `(...)`.
    """
    smallest = largest = spacing[..., 0]
    for k in range(1, spacing.shape[-1]):
        smallest = xp.minimum(smallest, spacing[..., k])
        largest = xp.maximum(largest, spacing[..., k])
    # With a tolerance for the rounding of float32, so that the bounds are usable.
    within = (smallest > 0.999 * MIN_SPACING) & (largest < 1.001 * MAX_SPACING)
    return within & (largest < 1.001 * MAX_ANISOTROPY * smallest)


def has_usable_spacing(affine, xp):
    """Returns whether affines are valid maps from pixels to millimetres.

    All parts of the package use this rule: files, commands, graphs and servers. All
    numbers must be finite, the lengths of the axes must be a usable spacing
    (`spacing_is_usable`), and the axes must be linearly independent. Rotated and
    mirrored axes are valid.

    Args:
        affine: Array `(..., D + 1, D + 1)`, pixels to millimetres.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Bool array `(...)`.

    Example:

    >>> from scn_keras.array_api import NUMPY
    >>> affine = np.diag([0.1, 0.1, 1.0])
    >>> bool(has_usable_spacing(affine, NUMPY))
    True
    >>> bool(has_usable_spacing(0.0 * affine, NUMPY))
    False
    """
    d = affine.shape[-1] - 1
    finite = xp.sum(xp.sum(xp.abs(affine), axis=-1), axis=-1) < np.inf
    linear = xp.where(finite[..., None, None], affine[..., :d, :d], 0.0)
    lengths = xp.sqrt(xp.sum(linear * linear, axis=-2))
    volume = lengths[..., 0]
    for k in range(1, d):
        volume = volume * lengths[..., k]
    independent = xp.abs(_determinant(linear)) > 1e-6 * volume
    return independent & spacing_is_usable(lengths, xp)


def _determinant(matrix):
    """Returns determinants of 2 x 2 or 3 x 3 matrices, in a form that XLA compiles."""

    def minor(row, column):
        a, b = (k for k in range(matrix.shape[-1]) if k != column)
        first, second = matrix[..., row, :], matrix[..., row + 1, :]
        return first[..., a] * second[..., b] - first[..., b] * second[..., a]

    if matrix.shape[-1] == 2:
        first, second = matrix[..., 0, :], matrix[..., 1, :]
        return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return (
        matrix[..., 0, 0] * minor(1, 0)
        - matrix[..., 0, 1] * minor(1, 1)
        + matrix[..., 0, 2] * minor(1, 2)
    )


def usable_spacing(affine, xp):
    """Returns the spacing x, y(, z) of affines in mm, zeros where it is not usable.

    Args:
        affine: Array `(..., D + 1, D + 1)`, pixels to millimetres.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Array `(..., D)`, see `has_usable_spacing`.
    """
    d = affine.shape[-1] - 1
    linear = affine[..., :d, :d]
    spacing = xp.sqrt(xp.sum(linear * linear, axis=-2))
    usable = has_usable_spacing(affine, xp)[..., None]
    return xp.where(usable, spacing, xp.cast(0.0, spacing.dtype))


def invert_affine(affine: np.ndarray) -> np.ndarray:
    """Inverts NumPy affines `(..., D + 1, D + 1)`.

    Raises:
        ValueError: If an affine is singular, for example because a spacing is 0.
    """
    try:
        return np.linalg.inv(affine)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The affine cannot be inverted. It has a spacing of 0 or linearly "
            f"dependent axes. Received: affine={np.asarray(affine).tolist()}"
        ) from error


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """Returns the spacing x, y(, z) of an affine, the length of each column in mm.

    Example:

    >>> spacing_of(np.diag([0.1, 0.2, 1.0]))
    array([0.1, 0.2])
    """
    affine = np.asarray(affine)
    d = affine.shape[-1] - 1
    return np.linalg.norm(affine[..., :d, :d], axis=-2)


def root_mean_square_width(affine: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Returns the root mean square widths of covariances in space, in mm.

    Args:
        affine: Array `(D + 1, D + 1)`.
        covariance: Array `(..., D, D)`, in squared pixels.

    Example:

    The standard deviations are 0.3 mm along x and 0.4 mm along y.

    >>> affine, covariance = np.diag([0.1, 0.1, 1.0]), np.diag([9.0, 16.0])
    >>> float(root_mean_square_width(affine, covariance).round(6))
    0.5
    """
    linear = np.asarray(affine, np.float64)[:-1, :-1]
    covariance_mm2 = linear @ np.asarray(covariance, np.float64) @ linear.T
    return np.sqrt(np.trace(covariance_mm2, axis1=-2, axis2=-1))


def affine_from_spacing(spacing) -> np.ndarray:
    """Returns the affine of an axis-aligned image with its first pixel at the origin.

    Args:
        spacing: Sequence of D positive floats, mm per pixel in x, y(, z).

    Example:

    >>> affine_from_spacing((0.1, 0.1)).diagonal()
    array([0.1, 0.1, 1. ])
    """
    return np.diag([*np.asarray(spacing, dtype=np.float64), 1.0])


def letterbox(size, grid, aspect):
    """Returns scale and offset that fit an image into a grid, centred and undistorted.

    The map is `source = scale * grid_index + offset`. Along the axis that limits the
    scale, the edges of the image (not the centres of its edge pixels) coincide with the
    edges of the grid. Training, evaluation and the exported graph all call this
    function, with NumPy scalars or with scalar tensors.

    Args:
        size: Sequence of D floats, the size of the image in x, y(, z).
        grid: Sequence of D floats, the size of the grid in x, y(, z).
        aspect: Sequence of D floats, the spacing of the image up to a common factor;
            ones if it is unknown.

    Returns:
        `(scale, offset)`, two lists of D scalars, in pixels of the image.

    Example:

    A 200 x 100 image in a 50 x 50 grid is reduced by a factor of 4.

    >>> scale, offset = letterbox((200.0, 100.0), (50.0, 50.0), (1.0, 1.0))
    >>> scale, offset
    ([4.0, 4.0], [1.5, -48.5])
    """
    fit = size[0] * aspect[0] / grid[0]
    for s, g, a in zip(size[1:], grid[1:], aspect[1:], strict=True):
        other = s * a / g
        # The maximum, computed by operators that tensors of all libraries support.
        fit = fit + ((other - fit) + abs(other - fit)) * 0.5
    scale = [fit / a for a in aspect]
    # The centres coincide: (size - 1) / 2 = scale * (grid - 1) / 2 + offset.
    offset = [
        (s - 1.0) * 0.5 - k * (g - 1.0) * 0.5
        for s, g, k in zip(size, grid, scale, strict=True)
    ]
    return scale, offset
