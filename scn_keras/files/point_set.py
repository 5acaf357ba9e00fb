import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from scn_keras.files.image_header import ImageHeader
from scn_keras.geometry import apply_affine, invert_affine

SPACES = ("pixels", "LPS")


@dataclasses.dataclass(frozen=True)
class PointSet:
    """The labelled points of one image in pixels or in space.

    Args:
        labels: Sequence of str, one for each point, in the order of the file and with
            duplicates.
        points: Array `(N, D)`, x, y(, z); a NaN row is a missing landmark.
        space: Str, `"pixels"` for continuous index coordinates of the image, a
            pixel's centre at whole numbers, or `"LPS"` for the space of the image in
            ITK: for a calibrated image, millimetres to the left, to the back and
            upwards.
        image: Str, the name of the image, if the file has it.
        attributes: Mapping of str to str, the other columns of a table.
        lines: Sequence of int, the line of the file of each point.
        image_size: Pair of ints, the width and the height of the image that the file
            of points states; None if it states none.
        notes: Sequence of str, remarks for the user on what was not read.
        shapes: Sequence of pairs of str, the label and the kind of each shape of the
            file that is no point, such as `("film", "rectangle")`.
        file_size: Int, the bytes of the image file that the file of points states; None
            if it states none.
        numbered: Bool, whether the labels are the numbers of the points in the file,
            from 1, since the format has no labels.
        from_below: Bool, whether y counts upwards from the lower edge of the image;
            `to_pixels` counts it from above.

    Raises:
        ValueError: If the number of labels, the shape of the points or the space is
            not valid, or some coordinates of a point are missing.

    Example:

    >>> points = PointSet(("sella", "nasion"), [[83.5, 99.0], [np.nan, np.nan]])
    >>> points.ordered(("nasion", "sella", "menton"))
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
    image_size: tuple[int, int] | None = None
    notes: Sequence[str] = ()
    shapes: Sequence[tuple[str, str]] = ()
    file_size: int | None = None
    numbered: bool = False
    from_below: bool = False

    def __post_init__(self) -> None:
        points = np.array(self.points, np.float64)
        if points.ndim != 2 or points.shape[1] not in (2, 3):
            raise ValueError(
                "`points` must have one row x, y or x, y, z for each landmark. "
                f"Received: shape {points.shape}"
            )
        if len(self.labels) != len(points):
            raise ValueError(
                f"`labels` must have one label for each of {len(points)} points. "
                f"Received: {len(self.labels)} labels"
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
        for name in ("lines", "notes", "shapes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def ordered(self, names: Sequence[str]) -> np.ndarray:
        """Returns the points in the order of names, `(len(names), D)`.

        Args:
            names: Sequence of str. A name without a label is NaN; for duplicate labels
                the first point is returned.
        """
        rows = {label: row for row, label in reversed([*enumerate(self.labels)])}
        absent = np.full(self.points.shape[1], np.nan)
        return np.array(
            [self.points[rows[n]] if n in rows else absent for n in names], np.float64
        ).reshape(-1, self.points.shape[1])

    def to_pixels(self, image: ImageHeader | np.ndarray) -> "PointSet":
        """Returns the points in index coordinates of an image.

        Args:
            image: `ImageHeader`, or the affine of the image `(D + 1, D + 1)`.

        Raises:
            ValueError: If the points have another number of coordinates than the image
                has axes, do not lie on its only slice, or are 2D points in millimetres
                and the image is not a calibrated 2D image.
        """
        rank = len(image.shape) if isinstance(image, ImageHeader) else len(image) - 1
        if self.from_below:
            if not isinstance(image, ImageHeader):
                raise ValueError(
                    "Points whose y counts from below need the `ImageHeader` of their "
                    "image. Received: an affine"
                )
            return self.from_above(image.shape[-2]).to_pixels(image)
        points = self.points
        if self.space == "LPS":
            to_space = _index_to_space if points.shape[1] == 3 else _plane_affine
            points = apply_affine(invert_affine(to_space(image)), points)
        if points.shape[1] == 3 and rank == 2:  # points of a film from 3D Slicer
            distance = np.abs(points[:, 2])
            if np.nanmax(distance, initial=0.0) > 0.5:
                row = int(np.nanargmax(distance))
                raise ValueError(
                    "The points must lie on the only slice of the image. Received: "
                    f"{self.labels[row]!r}, {distance[row]:.1f} slices away from it"
                )
            points = points[:, :2]
        if points.shape[1] != rank:
            raise ValueError(
                f"The points must have {rank} coordinates, as many as the image has "
                f"axes. Received: {points.shape[1]} coordinates"
            )
        return dataclasses.replace(self, points=points, space="pixels")

    def from_above(self, height: int) -> "PointSet":
        """Returns the points with y from above, if it counts from below.

        Args:
            height: Int, the number of rows of the image.
        """
        if not self.from_below:
            return self
        points = self.points.copy()
        points[:, 1] = height - points[:, 1]
        return dataclasses.replace(self, points=points, from_below=False)

    def to_lps(self, image: ImageHeader | np.ndarray) -> "PointSet":
        """Returns the points as x, y, z in the space in which 3D Slicer shows an image.

        Args:
            image: `ImageHeader`, or the affine of the image `(D + 1, D + 1)`.

        Raises:
            ValueError: See `to_pixels`.
        """
        if self.space == "LPS" and self.points.shape[1] == 3:
            return self
        points = self.to_pixels(image).points
        if points.shape[1] == 2:
            depth = np.where(np.isnan(points[:, :1]), np.nan, 0.0)
            points = np.hstack([points, depth])
        points = apply_affine(_index_to_space(image), points)
        return dataclasses.replace(self, points=points, space="LPS")


def _index_to_space(image: ImageHeader | np.ndarray) -> np.ndarray:
    if isinstance(image, ImageHeader):
        return image.index_to_space
    rank = len(image) - 1
    affine = np.eye(4)
    affine[np.ix_([*range(rank), 3], [*range(rank), 3])] = image
    return affine


def _plane_affine(image: ImageHeader | np.ndarray) -> np.ndarray:
    affine = image.affine if isinstance(image, ImageHeader) else image
    if affine is None or len(affine) != 3:
        raise ValueError(
            "2D points in millimetres need a calibrated 2D image. Received: "
            f"affine={None if affine is None else affine.tolist()}"
        )
    return affine
