import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, has_usable_spacing, spread_of
from scn_keras.inference.expected_error import expected_error
from scn_keras.saved_models.predicting.image_source import ImageSource

# What calibrated models say.
_SAID = ("radius90_px", "radius90_mm", "present", "trusted")


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
        radius90_mm: float32 `(N,)`, the radius that holds nine in ten true points; NaN
            where not calibrated; `None`, as all that follows, where the model does not
            say: it was not calibrated by `scn-keras calibrate`.
        present: bool `(N,)`, whether the landmark is in the image.
        trusted: Bool, whether the image is like those that the model knows.
        radius90_px: float32 `(N,)`, in pixels of the file.
    """

    file: pathlib.Path
    points_px: np.ndarray
    points_mm: np.ndarray
    score: np.ndarray
    calibrated: bool
    notes: tuple[str, ...]
    spread_px: np.ndarray
    spread_mm: np.ndarray
    radius90_mm: np.ndarray | None = None
    present: np.ndarray | None = None
    trusted: bool | None = None
    radius90_px: np.ndarray | None = None

    @classmethod
    def of(cls, source: ImageSource, found: Mapping[str, np.ndarray]) -> "Prediction":
        """Returns what a model found in one file, in the file's own space.

        Args:
            source: `ImageSource`, the file as it was read.
            found: Mapping, the outputs of an exported model for this image, by name;
                of those that are there, `points_px`, `score`, `covariance_px2`,
                `radius90_mm`, `radius90_px`, `present` and `trusted` are taken.
        """
        points = found["points_px"]
        calibrated = bool(has_usable_spacing(source.affine, NUMPY))
        to_mm = source.affine if calibrated else source.affine * math.nan
        d = points.shape[-1]
        # Models that were exported by an early version do not say.
        covariance = found.get("covariance_px2", np.full((1, d, d), math.nan))
        said: dict[str, Any] = {}
        # A model that was not calibrated says so by NaN.
        if np.isfinite(found.get("radius90_px", math.nan)).any():
            said = {name: found[name] for name in _SAID}
            said["trusted"] = bool(said["trusted"])
        return cls(
            source.file,
            points,
            apply_affine(to_mm, points.astype(np.float64)).astype(np.float32),
            found["score"],
            calibrated,
            source.notes,
            spread_of(np.eye(len(to_mm)), covariance),
            spread_of(to_mm, covariance),
            **said,
        )

    def radius90(self, unit: str) -> np.ndarray | None:
        """Returns the radii in `"mm"` or `"px"`, `(N,)`; `None` if not known."""
        return self.radius90_mm if unit == "mm" else self.radius90_px

    def expected_error(self, unit: str) -> np.ndarray:
        """Returns how far off each landmark may be, `(N,)`: `expected_error`.

        Args:
            unit: `"mm"` or `"px"`.
        """
        return expected_error(
            self.spread_mm if unit == "mm" else self.spread_px, self.score
        )
