import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The landmarks that a model found in one file.

    Args:
        file: Path of the image.
        points_px: float32 `(N, 2)`, in pixels of the file, x and y, the centre of
            the first pixel at 0, 0.
        points_mm: float32 `(N, 2)`, in millimetres; NaN where not calibrated.
        score: float32 `(N,)`, from 0 to 1.
        calibrated: Bool, whether the spacing is known.
    """

    file: pathlib.Path
    points_px: np.ndarray
    points_mm: np.ndarray
    score: np.ndarray
    calibrated: bool
