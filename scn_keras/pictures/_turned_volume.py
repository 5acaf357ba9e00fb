from typing import NamedTuple

import numpy as np

from scn_keras.geometry import spacing_of
from scn_keras.pictures.style import grey_limits, to_grey

# Per axis of LPS: the plane perpendicular to it, and the letters of its two ends.
_PLANES = ("sagittal", "coronal", "axial")
_LETTERS = ("RL", "AP", "IS")
# Per axis: those along the columns and rows of its plane. The z axis points upwards.
_AXES = {2: (0, 1), 1: (0, 2), 0: (1, 2)}


class TurnedVolume(NamedTuple):
    """A volume with axes along left, posterior and superior, as far as is known.

    Attributes:
        image: Array `(z, y, x)`.
        limits: Tuple of two floats, the grey values drawn black and white in slices.
        spacing: Array `(3,)`, x, y, z; ones if it is not known.
        points: Array `(N, 3)`, x, y, z.
        stored: Array `(N, 3)`, the points in the stored volume, in that order.
        has_directions: Bool, whether the planes have names.
        true: Array `(N, 3)` of the true points, or `None`.
    """

    image: np.ndarray
    limits: tuple[float, float]
    spacing: np.ndarray
    points: np.ndarray
    stored: np.ndarray
    has_directions: bool
    true: np.ndarray | None

    @property
    def extents(self) -> np.ndarray:
        """The size along x, y and z, in mm or pixels."""
        return self.spacing * self.image.shape[::-1]

    def plane(self, axis: int, index: float | None = None) -> np.ndarray:
        """Returns the grey values of a slice, or of the projection for `None`."""
        array_axis = 2 - axis
        if index is None:
            plane = self.image.max(axis=array_axis)
            limits = grey_limits(plane)
        else:
            nearest = int(np.clip(round(index), 0, self.image.shape[array_axis] - 1))
            plane, limits = np.take(self.image, nearest, array_axis), self.limits
        if _AXES[axis][1] == 2:
            plane = plane[::-1]
        return to_grey(plane, limits)

    def in_plane(self, points: np.ndarray, axis: int) -> np.ndarray:
        """Returns the columns and rows of points `(N, 3)` in the plane of an axis."""
        x, y = _AXES[axis]
        rows = points[:, y]
        if y == 2:
            rows = self.image.shape[2 - y] - 1 - rows
        return np.stack([points[:, x], rows], axis=-1)

    def plane_spacing(self, axis: int) -> np.ndarray:
        """Returns the spacing along the columns and rows of a plane."""
        return self.spacing[list(_AXES[axis])]

    def plane_name(self, axis: int) -> str:
        """Returns the name of the planes across an axis."""
        return _PLANES[axis] if self.has_directions else "xyz"[axis]

    def letters(self, axis: int) -> tuple[str, str]:
        """Returns the letters at the left and the upper edge of a plane."""
        if not self.has_directions:
            return "", ""
        x, y = _AXES[axis]
        return _LETTERS[x][0], _LETTERS[y][y == 2]

    def is_outside(self, landmark: int) -> bool:
        """Returns whether a point is outside the image."""
        point, size = self.points[landmark], np.array(self.image.shape[::-1])
        return bool(((point < -0.5) | (point > size - 0.5)).any())


def turn_volume(
    image: np.ndarray,
    points: np.ndarray,
    affine: np.ndarray | None,
    true: np.ndarray | None = None,
) -> TurnedVolume:
    """Returns a volume with the axes that are nearest to left, posterior and superior.

    Args:
        image: Array `(z, y, x)`.
        points: Array `(N, 3)`, pixels of the image.
        affine: Array `(4, 4)`, pixels to mm (LPS), or `None` to turn nothing.
        true: Array `(N, 3)`, pixels of the image, or `None`.
    """
    limits = grey_limits(image)
    if affine is None:
        return TurnedVolume(image, limits, np.ones(3), points, points, False, true)
    spacing = spacing_of(affine)
    directions = np.asarray(affine)[:3, :3] / spacing
    # The axis of the volume for each axis of LPS, the clearest first.
    order = np.full(3, -1)
    strength = np.abs(directions)
    for _ in range(3):
        lps, stored = np.unravel_index(np.argmax(strength), (3, 3))
        order[lps] = stored
        strength[lps], strength[:, stored] = -1.0, -1.0
    backwards = np.flatnonzero(directions[np.arange(3), order] < 0)
    # Axes of the array are z, y, x.
    image = np.transpose(image, [2 - order[2], 2 - order[1], 2 - order[0]])
    image = np.flip(image, tuple(2 - int(axis) for axis in backwards))
    last = np.array(image.shape[::-1]) - 1

    def turned(positions: np.ndarray) -> np.ndarray:
        positions = positions[:, order].copy()
        positions[:, backwards] = last[backwards] - positions[:, backwards]
        return positions

    return TurnedVolume(
        image,
        limits,
        spacing[order],
        turned(points),
        points[:, order],
        True,
        None if true is None else turned(true),
    )
