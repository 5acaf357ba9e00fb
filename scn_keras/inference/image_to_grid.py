import dataclasses
import math
import numbers

NORMALIZATIONS = ("range", "percentile", "window", "grid_percentile")
AXES = ("stored", "patient")


@dataclasses.dataclass(frozen=True)
class ImageToGrid:
    """Settings of the preprocessing: from an image of any size to a network's input.

    Models with the same settings have the same input for the same image.

    Args:
        grid: Size of the network's input, `(rows, columns)` or, for volumes, `(slices,
            rows, columns)`.
        grid_spacing: Floats, mm per pixel of the grid in x, y(, z). The centre of the
            grid is then the centre of the image, and the grid may be larger or smaller
            than the image. `None` fits every image into the grid without distortion.
        normalization: Str, the mapping of grey values to about -1 to 1. `"range"` maps
            the range of the pixel type, `"percentile"` two percentiles of each image,
            `"window"` two stored values, such as Hounsfield units of CT. Values beyond
            the limits of these two are clipped. `"grid_percentile"` maps two
            percentiles of the pixels on the grid, with the black padding around the
            image, and does not clip, as the reference does for hands. It is for images
            that use the range of their pixel type.
        normalization_limits: Two increasing floats. For percentiles, fractions; `None`
            for 0.01 and 0.99. For `"window"`, the two stored values, which are
            required.
        axes: Str, the directions of the grid's axes. `"stored"` has the axes of the
            array, so that all volumes must be stored alike. `"patient"`, for volumes
            only, takes the axes that are closest to the patient's left, back and head
            as x, y and z, in whatever order a file stores its voxels.
        clip_last: Bool, for `"percentile"` and `"window"`: whether values are clipped
            to -1 to 1 on the grid and after the augmentation, as the reference does,
            instead of before both. A shift of grey values then leaves air outside the
            range black.
        outside: Float or `None`, the stored value around the image, for `"window"` with
            `clip_last`, such as -3024 for CT; `None` for the lower limit.
        tile_step: Int or `None`, in pixels of the grid, for `grid_spacing`: images that
            are longer than the grid along its first axis, such as CT of a whole spine,
            are located in several grids this far apart. Each landmark is taken from the
            one with its highest score. `None` for the central grid alone. Trainings
            have one grid per image; its position can be random, see `crop` of
            `Augmentation`.

    Raises:
        ValueError: If a value is out of its range or values do not match.

    Example:

    >>> ImageToGrid((480, 384)).dimensions
    2
    >>> ct = ImageToGrid((96, 96, 96), (2.0, 2.0, 2.0), "window", (-1000.0, 1000.0))
    >>> ct.uses_stored_values
    True
    """

    grid: tuple[int, ...] = (480, 384)
    grid_spacing: tuple[float, ...] | None = None
    normalization: str = "range"
    normalization_limits: tuple[float, float] | None = None
    axes: str = "stored"
    clip_last: bool = False
    outside: float | None = None
    tile_step: int | None = None

    def __post_init__(self) -> None:
        if (
            not _are_numbers(self.grid)
            or len(self.grid) not in (2, 3)
            or any(size < 1 or size != int(size) for size in self.grid)
        ):
            raise ValueError(
                "`grid` must be (rows, columns) or (slices, rows, columns). "
                f"Received: grid={self.grid!r}"
            )
        if self.grid_spacing is not None and (
            not _are_numbers(self.grid_spacing)
            or len(self.grid_spacing) != len(self.grid)
            or not all(0.0 < s < math.inf for s in self.grid_spacing)
        ):
            raise ValueError(
                f"`grid_spacing` must be {len(self.grid)} positive numbers, x, y(, z). "
                f"Received: grid_spacing={self.grid_spacing!r}"
            )
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {', '.join(NORMALIZATIONS)}. "
                f"Received: normalization={self.normalization!r}"
            )
        if self.axes not in AXES:
            raise ValueError(
                f"`axes` must be one of {', '.join(AXES)}. Received: axes={self.axes!r}"
            )
        if self.uses_patient_axes and self.dimensions != 3:
            raise ValueError(
                'The axes "patient" are for volumes. Omit `axes` for 2D images. '
                f"Received: axes='patient', grid={self.grid!r}"
            )
        limits = self.normalization_limits
        if self.normalization == "window" and limits is None:
            raise ValueError(
                'The normalization "window" requires `normalization_limits`, the two '
                "stored values (Hounsfield units of CT) that are mapped to black and "
                "white. Received: normalization_limits=None"
            )
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(
                "`normalization_limits` must be two increasing numbers. "
                f"Received: normalization_limits={limits}"
            )
        if self.normalization == "grid_percentile" and (
            limits is not None and not 0.0 <= limits[0] < limits[1] <= 1.0
        ):
            raise ValueError(
                "`normalization_limits` of percentiles must be fractions from 0 to 1. "
                f"Received: normalization_limits={limits}"
            )
        if self.clip_last and self.normalization not in ("percentile", "window"):
            raise ValueError(
                "`clip_last` is used by the normalizations percentile and window only, "
                "the others do not clip. Received: clip_last=True, "
                f"normalization={self.normalization!r}"
            )
        if self.outside is not None and not (
            self.clip_last
            and self.normalization == "window"
            and math.isfinite(self.outside)
        ):
            raise ValueError(
                "`outside` is a finite stored value. It is used by the normalization "
                "window with `clip_last` only. Received: "
                f"outside={self.outside}, normalization={self.normalization!r}, "
                f"clip_last={self.clip_last}"
            )
        self._check_tile_step()

    @property
    def dimensions(self) -> int:
        """The number of axes of the images, 2 or 3."""
        return len(self.grid)

    @property
    def uses_stored_values(self) -> bool:
        """Whether grey values are stored values instead of values from 0 to 1."""
        return self.normalization == "window"

    @property
    def normalizes_on_grid(self) -> bool:
        """Whether grey values are mapped after the image is resampled to the grid."""
        return self.normalization == "grid_percentile"

    @property
    def outside_value(self) -> float:
        """The value around a reduced image, before the steps on the grid: black."""
        if self.outside is None or self.normalization_limits is None:
            return -1.0
        low, high = self.normalization_limits
        return (self.outside - low) / (high - low) * 2.0 - 1.0

    @property
    def uses_patient_axes(self) -> bool:
        """Whether the grid has the axes of the patient, not those of the array."""
        return self.axes == "patient"

    def _check_tile_step(self):
        if self.tile_step is not None and not (
            self.grid_spacing is not None
            and isinstance(self.tile_step, int)
            and 1 <= self.tile_step <= self.grid[0]
        ):
            raise ValueError(
                "`tile_step` must be an integer from 1 to the first size of the grid. "
                "It requires `grid_spacing`, since other grids contain the whole "
                f"image. Received: tile_step={self.tile_step!r}, grid={self.grid}, "
                f"grid_spacing={self.grid_spacing}"
            )


def _are_numbers(values):
    return hasattr(values, "__len__") and all(
        isinstance(value, numbers.Real) for value in values
    )
