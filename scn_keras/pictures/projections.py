from typing import NamedTuple

import numpy as np


class Projection(NamedTuple):
    """A plane on which an image and its points are drawn.

    Attributes:
        plane: Array `(rows, columns)`.
        points: Array `(N, 2)`, columns and rows of the plane.
        axes: Tuple of two ints, the axes of the image (0 is x, 1 is y, 2 is z) along
            the columns and along the rows.
        aspect: Float, the height of a pixel relative to its width.
    """

    plane: np.ndarray
    points: np.ndarray
    axes: tuple[int, int]
    aspect: float


def project_to_planes(
    image: np.ndarray,
    points: np.ndarray,
    spacing: np.ndarray | None = None,
    around: np.ndarray | None = None,
) -> tuple[Projection, ...]:
    """Returns the planes on which an image is drawn.

    A 2D image has one plane. A volume has its maximum projections along z, along y and
    along x, which show bone and contrast agents.

    Args:
        image: Array `((z,) y, x)`.
        points: Array `(N, D)`, pixels of the image, NaN for missing.
        spacing: Array `(D,)`, mm, x, y(, z). Pixels are drawn as squares if it is
            `None` or has a number that is not positive and finite.
        around: Array `(D,)`, a position in the image. Along each axis, only a tenth of
            the volume on either side of it is projected. `None` for the whole volume.

    Example:

    >>> volume = np.zeros((4, 3, 2))
    >>> [p.plane.shape for p in project_to_planes(volume, np.zeros((1, 3)))]
    [(3, 2), (4, 2), (4, 3)]
    """
    d = image.ndim
    if spacing is None or not (np.isfinite(spacing) & (np.asarray(spacing) > 0)).all():
        spacing = np.ones(d)
    if d == 2:
        return (Projection(image, points, (0, 1), float(spacing[1] / spacing[0])),)
    planes = []
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
        planes.append(Projection(plane, points[:, list(axes)], axes, aspect))
    return tuple(planes)
