from typing import NamedTuple

import numpy as np


class Projection(NamedTuple):
    """An image as it is drawn: a plane, and the points on it.

    Attributes:
        plane: Array `(rows, columns)`.
        points: Array `(N, 2)`, columns and rows of the plane.
        axes: Tuple of two ints, which of x, y, z the columns and the rows are.
        aspect: Float, the length of a row relative to that of a column.
    """

    plane: np.ndarray
    points: np.ndarray
    axes: tuple[int, int]
    aspect: float


def projections(
    image: np.ndarray,
    points: np.ndarray,
    spacing: np.ndarray | None = None,
    around: np.ndarray | None = None,
) -> tuple[Projection, ...]:
    """Returns the planes in which a person looks at an image.

    Of a 2D image itself; of a volume the largest values along z, along y and along
    x, in which bone and contrast agents stand out.

    Args:
        image: Array `((z,) y, x)`.
        points: Array `(N, D)`, pixels of the image, NaN for missing.
        spacing: Array `(D,)`, x, y(, z), up to a factor; None or NaN for equal ones.
        around: Array `(D,)`, a place in the image: only a tenth of the volume to
            either side of it is projected. None for all of it.

    Example:

    >>> volume = np.zeros((4, 3, 2))
    >>> [p.plane.shape for p in projections(volume, np.zeros((1, 3)))]
    [(3, 2), (4, 2), (4, 3)]
    """
    d = image.ndim
    if spacing is None or not (np.isfinite(spacing) & (np.asarray(spacing) > 0)).all():
        spacing = np.ones(d)
    if d == 2:
        return (Projection(image, points, (0, 1), float(spacing[1] / spacing[0])),)
    found = []
    for along, axes in ((2, (0, 1)), (1, (0, 2)), (0, (1, 2))):
        size = image.shape[d - 1 - along]
        slab = slice(None)
        if around is not None and np.isfinite(around[along]):
            first = int(np.clip(around[along] - 0.1 * size, 0, size - 1))
            slab = slice(
                first, int(np.clip(around[along] + 0.1 * size, first, size)) + 1
            )
        plane = np.moveaxis(image, d - 1 - along, 0)[slab].max(axis=0)
        aspect = float(spacing[axes[1]] / spacing[axes[0]])
        found.append(Projection(plane, points[:, list(axes)], axes, aspect))
    return tuple(found)
