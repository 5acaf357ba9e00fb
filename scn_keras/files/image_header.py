import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What an image file says before its pixels are decoded.

    Args:
        path: Path, the file, or the folder of a DICOM series.
        shape: Tuple of ints, `(y, x)` or `(z, y, x)`, as `read_image` returns it.
        affine: float64 `(3, 3)` or `(4, 4)`, index coordinates x, y(, z) to mm (LPS),
            or None where the file has no spacing that is a measure of the patient.
        lattice: float64 `(4, 4)`, index coordinates x, y, z to the space in which ITK
            and 3D Slicer show the file. Of an uncalibrated file this is not
            millimetres, yet points that were set there are mapped back through it.
        dtype: str, the smallest of `uint8`, `uint16`, `int16` and `float32` in which
            the file's values fit; larger integers lose digits above 2^24.
        files: Tuple of paths, the slices of a DICOM series, else the file alone.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray | None
    lattice: np.ndarray
    dtype: str
    files: tuple[Path, ...]
