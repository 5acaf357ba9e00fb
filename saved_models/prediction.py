import dataclasses
import pathlib

import numpy as np

from scn_keras.training.expected_error import expected_error


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
        spread_px: float64 `(N,)`, how wide the heatmaps' peaks are: the root mean
            square distance from their middle, in pixels of the file; NaN where the
            model does not say.
        spread_mm: float64 `(N,)`, the same in millimetres.
    """

    file: pathlib.Path
    points_px: np.ndarray
    points_mm: np.ndarray
    score: np.ndarray
    calibrated: bool
    notes: tuple[str, ...]
    spread_px: np.ndarray
    spread_mm: np.ndarray

    def expected_error(self, unit: str) -> np.ndarray:
        """Returns how far off each landmark may be, `(N,)`: `expected_error`.

        Args:
            unit: `"mm"` or `"px"`.
        """
        return expected_error(
            self.spread_mm if unit == "mm" else self.spread_px, self.score
        )
