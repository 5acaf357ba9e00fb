import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """The properties of an image that are known without decoding its pixels.

    Args:
        path: Path, the file, or the folder of a DICOM series.
        shape: Tuple of ints, `(y, x)` or `(z, y, x)`, the shape from `read_image`.
        affine: float64 `(3, 3)` or `(4, 4)`, index coordinates x, y(, z) to mm (LPS);
            None if the file has no spacing in millimetres of the patient.
        index_to_space: float64 `(4, 4)`, index coordinates x, y, z to the space in
            which ITK and 3D Slicer show the file. For an uncalibrated file its unit is
            not the millimetre, but it maps points from 3D Slicer back to pixels.
        dtype: Str, the smallest of `uint8`, `uint16`, `int16` and `float32` that holds
            the file's values; integers above 2^24 lose digits.
        files: Tuple of paths, the slices of a DICOM series, otherwise the file alone.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray | None
    index_to_space: np.ndarray
    dtype: str
    files: tuple[Path, ...]
