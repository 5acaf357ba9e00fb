"""Rotations in closed form, of products, sums and roots alone.

ONNX and LiteRT lack the decompositions of linear algebra.
"""

import math
from typing import Any

import numpy as np

from scn_keras.array_api import NUMPY, sum_of_products

_SMALL = 1e-12

# Iterations of the orthogonal factor of a 3 x 3 matrix. Of ten thousand random shapes,
# flat ones included, none needed more than nine in float32.
_POLAR_STEPS = 14


def limited_rotation(moments: Any, degrees: float, xp: Any = NUMPY) -> Any:
    """Returns the best rotations between vectors, of a limited angle.

    The rotation of a larger angle has the same axis and the limit as its angle, so that
    a part of the rotation remains.

    Args:
        moments: Array `(..., D, D)` with D = 2 or 3, the sums of the outer products of
            the vectors after (rows) and before the rotation (columns).
        degrees: Float, the limit of the angle, below 90.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        Array `(..., D, D)`. If the direction of the rotation is undefined (180 degrees,
        or no vectors), it is one of the possible ones in 2D and none in 3D.

    Example:

    >>> quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> limited = limited_rotation(quarter, 30.0)
    >>> np.round(np.degrees(np.arctan2(limited[1, 0], limited[0, 0])), 3).item()
    30.0
    """
    cos_limit, sin_limit = (
        math.cos(math.radians(degrees)),
        math.sin(math.radians(degrees)),
    )
    if moments.shape[-1] == 2:
        cos = moments[..., 0, 0] + moments[..., 1, 1]
        sin = moments[..., 1, 0] - moments[..., 0, 1]
        size = xp.sqrt(cos * cos + sin * sin)
        divisor = xp.maximum(size, _SMALL)
        within = cos >= cos_limit * divisor
        cos = xp.where(within, cos / divisor, cos_limit)
        sin = xp.where(
            within, sin / divisor, xp.where(sin < 0.0, -sin_limit, sin_limit)
        )
        rows = [xp.stack([cos, -sin], axis=-1), xp.stack([sin, cos], axis=-1)]
        return xp.stack(rows, axis=-2)
    rotation = nearest_rotation(moments, xp)
    diagonal = (rotation[..., k, k] for k in range(3))
    within = 0.5 * (sum(diagonal) - 1.0) >= cos_limit
    transposed = xp.stack([rotation[..., k, :] for k in range(3)], axis=-1)
    # The antisymmetric part is the sine of the angle times the matrix of the axis.
    axis = 0.5 * (rotation - transposed)
    sin = xp.sqrt(0.5 * xp.sum(axis * axis, axis=(-2, -1)))[..., None, None]
    axis = axis / xp.maximum(sin, _SMALL)
    limited = sin_limit * axis + (1.0 - cos_limit) * sum_of_products(axis, axis)
    limited = limited + xp.cast(np.eye(3), "float32")
    return xp.where(within[..., None, None], rotation, limited)


def nearest_rotation(matrix: Any, xp: Any) -> Any:
    """Returns the rotations R with the largest trace of `transpose(R) @ matrix`.

    They are the orthogonal factors of `matrix + cofactors`, which is regular with a
    positive determinant also if the points lie in a plane or are nearer to a mirror
    image. Newton's iteration for it is the mean of a matrix and its transposed inverse
    (Higham, SIAM J. Sci. Stat. Comput. 7, 1986), scaled by the determinant.
    """
    size = xp.sqrt(xp.sum(matrix * matrix, axis=(-2, -1)))[..., None, None]
    matrix = matrix / xp.maximum(size, _SMALL)
    _, cofactors = cofactor_matrix(matrix, xp)
    matrix = matrix + 2.0 * cofactors
    for _ in range(_POLAR_STEPS):
        determinant, cofactors = cofactor_matrix(matrix, xp)
        determinant = xp.maximum(xp.abs(determinant), _SMALL)[..., None, None]
        growth = determinant ** (1.0 / 3.0)
        matrix = 0.5 * (matrix / growth + cofactors / determinant * growth)
    return matrix


def cofactor_matrix(matrix: Any, xp: Any) -> tuple[Any, Any]:
    """Returns determinants and matrices of cofactors of 2 x 2 or 3 x 3 matrices."""
    d = matrix.shape[-1]
    if d == 2:
        rows = [
            xp.stack([matrix[..., 1, 1], -matrix[..., 1, 0]], axis=-1),
            xp.stack([-matrix[..., 0, 1], matrix[..., 0, 0]], axis=-1),
        ]
        cofactors = xp.stack(rows, axis=-2)
    else:
        entry = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
        cofactors = xp.stack(
            [
                xp.stack([_minor(entry, i, j) for j in range(3)], axis=-1)
                for i in range(3)
            ],
            axis=-2,
        )
    return xp.sum(matrix[..., 0, :] * cofactors[..., 0, :], axis=-1), cofactors


def _minor(entry, row, column):
    # With cyclic indices the signs of cofactors are part of the order.
    i, j = (row + 1) % 3, (row + 2) % 3
    k, m = (column + 1) % 3, (column + 2) % 3
    return entry[i][k] * entry[j][m] - entry[i][m] * entry[j][k]
