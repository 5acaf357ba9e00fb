"""Interpolation of coarse tables at fine coordinates."""

import numpy as np


def look_up(table: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolates a periodic table linearly.

    Args:
        table: Array of shape `(R, C)`, repeated beyond its borders.
        u: Array, coordinates along the columns.
        v: Array of the same shape, coordinates along the rows.

    Example:

    >>> table = np.array([(0.0, 1.0), (2.0, 3.0)])
    >>> look_up(table, np.array([0.5, 2.0]), np.array([0.0, 1.0])).tolist()
    [0.5, 2.0]
    """
    rows, columns = table.shape
    u0, v0 = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    fu, fv = u - u0, v - v0
    u0, v0 = u0 % columns, v0 % rows
    u1, v1 = (u0 + 1) % columns, (v0 + 1) % rows
    top = table[v0, u0] * (1 - fu) + table[v0, u1] * fu
    bottom = table[v1, u0] * (1 - fu) + table[v1, u1] * fu
    return top * (1 - fv) + bottom * fv


def resample(
    table: np.ndarray, coordinates: np.ndarray, axis: int, smooth: bool = False
) -> np.ndarray:
    """Interpolates a table along one axis.

    Args:
        table: Float32 array.
        coordinates: Array of shape `(P,)`, fractional indices of the table.
        axis: Int, the axis.
        smooth: Bool, whether to interpolate by a cubic with zero slopes at the nodes
            instead of linearly, so that no kinks are visible.

    Returns:
        Float32 array, `P` long along the axis.

    Example:

    >>> table = np.array([0.0, 10.0, 30.0], "float32")
    >>> resample(table, np.array([0.5, 2.0]), axis=0).tolist()
    [5.0, 30.0]
    """
    low = np.clip(np.floor(coordinates).astype(int), 0, table.shape[axis] - 2)
    share = (coordinates - low).astype(np.float32)
    if smooth:
        share = share * share * (3 - 2 * share)
    share = share.reshape([-1 if a == axis else 1 for a in range(table.ndim)])
    lower, upper = np.take(table, low, axis), np.take(table, low + 1, axis)
    return lower + (upper - lower) * share
