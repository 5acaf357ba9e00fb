import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The landmarks that a model found in one file.

    Args:
        file: Path of the image.
        points_px: float32 `(N, D)`, in pixels of the file, x, y(, z), the centre of
            the first pixel at 0.
        points_mm: float32 `(N, D)`, in millimetres; NaN where not calibrated.
        score: float32 `(N,)`, from 0 to 1.
        calibrated: Bool, whether the spacing is known.
        notes: Tuple of str, what a person should know about the file.
    """

    file: pathlib.Path
    points_px: np.ndarray
    points_mm: np.ndarray
    score: np.ndarray
    calibrated: bool
    notes: tuple[str, ...] = ()
