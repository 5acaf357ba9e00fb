import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scn_keras.files.image_header import ImageHeader
from scn_keras.geometry import apply_affine, invert_affine

SPACES = ("pixels", "LPS")


@dataclasses.dataclass(frozen=True)
class PointSet:
    """The labelled points of one image, and in which coordinates they are.

    Args:
        labels: Sequence of str, one a point, as the file has them, doubles included.
        points: Array `(N, D)`, x, y(, z); a NaN row is a missing landmark.
        space: str, `"pixels"` for continuous index coordinates of the image, a
            pixel's centre at whole numbers, or `"LPS"` for the space of the image as
            ITK has it: millimetres to the left, to the back and upwards, if the image
            is calibrated.
        image: str, the name of the image, where the file says it.
        attributes: Mapping of str to str, what else a table says of the image.
        lines: Sequence of int, the line of the file in which each point is.

    Raises:
        ValueError: If the number of labels or the shape of the points is wrong, a
            point is missing in part, or there is no such space.

    Example:

    >>> found = PointSet(("sella", "nasion"), [[83.5, 99.0], [np.nan, np.nan]])
    >>> found.ordered(("nasion", "sella", "menton"))
    array([[ nan,  nan],
           [83.5, 99. ],
           [ nan,  nan]])
    """

    labels: Sequence[str]
    points: np.ndarray
    space: str = "pixels"
    image: str = ""
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lines: Sequence[int] = ()

    def __post_init__(self) -> None:
        points = np.array(self.points, np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3):
            raise ValueError(
                "`points` must have one row x, y or x, y, z a landmark. Received: "
                f"shape {points.shape}"
            )
        if len(self.labels) != len(points):
            raise ValueError(
                f"Each of {len(points)} points needs a label. Received: "
                f"{len(self.labels)} labels."
            )
        if self.space not in SPACES:
            raise ValueError(
                f"`space` must be one of {SPACES}. Received: space={self.space!r}"
            )
        missing = np.isnan(points)
        if (missing.any(1) != missing.all(1)).any() or np.isinf(points).any():
            raise ValueError(
                "A point must be finite, or NaN in all of its coordinates. Received: "
                f"points={points.tolist()}"
            )
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "lines", tuple(self.lines))

    def ordered(self, names: Sequence[str]) -> np.ndarray:
        """Returns the points in the order of names, NaN for those that are absent.

        Of a label that is there twice, the first counts.
        """
        rows = {label: row for row, label in reversed([*enumerate(self.labels)])}
        absent = np.full(self.points.shape[1], np.nan)
        return np.array(
            [self.points[rows[n]] if n in rows else absent for n in names], np.float64
        ).reshape(-1, self.points.shape[1])

    def to_pixels(self, image: ImageHeader | np.ndarray) -> "PointSet":
        """Returns the points in index coordinates of an image.

        Args:
            image: ImageHeader, or the image's affine `(D + 1, D + 1)`.

        Raises:
            ValueError: If the points have other axes than the image, lie off its only
                slice, or are two-dimensional millimetres of an image without any.
        """
        rank = len(image.shape) if isinstance(image, ImageHeader) else len(image) - 1
        points = self.points
        if self.space == "LPS":
            affine = _lattice(image) if points.shape[1] == 3 else _plane(image)
            points = apply_affine(invert_affine(affine), points)
        if points.shape[1] == 3 and rank == 2:  # as 3D Slicer has them of a film
            off = np.abs(points[:, 2])
            if np.nanmax(off, initial=0.0) > 0.5:
                row = int(np.nanargmax(off))
                raise ValueError(
                    f"The point {self.labels[row]!r} lies {off[row]:.1f} slices off "
                    "the image, which has one."
                )
            points = points[:, :2]
        if points.shape[1] != rank:
            raise ValueError(
                f"The image has {rank} axes, the points {points.shape[1]} coordinates."
            )
        return dataclasses.replace(self, points=points, space="pixels")

    def to_lps(self, image: ImageHeader | np.ndarray) -> "PointSet":
        """Returns the points as x, y, z in the space of an image, as 3D Slicer does.

        Args:
            image: ImageHeader, or the image's affine `(D + 1, D + 1)`.
        """
        if self.space == "LPS" and self.points.shape[1] == 3:
            return self
        points = self.to_pixels(image).points
        if points.shape[1] == 2:
            depth = np.where(np.isnan(points[:, :1]), np.nan, 0.0)
            points = np.hstack([points, depth])
        points = apply_affine(_lattice(image), points)
        return dataclasses.replace(self, points=points, space="LPS")


def _lattice(image: ImageHeader | np.ndarray) -> np.ndarray:
    if isinstance(image, ImageHeader):
        return image.lattice
    rank = len(image) - 1
    lattice = np.eye(4)
    lattice[np.ix_([*range(rank), 3], [*range(rank), 3])] = image
    return lattice


def _plane(image: ImageHeader | np.ndarray) -> np.ndarray:
    affine = image.affine if isinstance(image, ImageHeader) else image
    if affine is None or len(affine) != 3:
        raise ValueError(
            "Points of two coordinates in millimetres need a calibrated 2D image."
        )
    return affine
