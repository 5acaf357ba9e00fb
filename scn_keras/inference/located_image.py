import dataclasses
from collections.abc import Mapping

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, has_usable_spacing, spread_of
from scn_keras.metrics.on_arrays import point_distances


@dataclasses.dataclass(frozen=True)
class LocatedImage:
    """What was found in one image, and the truth of every observer.

    Methods take a unit: `"mm"`, by way of the affine, NaN where it has no usable
    spacing; or `"px"`, pixels of the image.

    Args:
        id: Str.
        group: Str, the patient.
        affine: Array `(D + 1, D + 1)`, pixels to mm.
        points_px: Array `(N, D)`.
        score: Array `(N,)`, from 0 to 1.
        covariance_px2: Array `(N, D, D)`, of the heatmaps' peaks.
        truth_px: Mapping of observers to arrays `(N, D)`, NaN where missing.
        radius90_px: Array `(N,)`, within what the true points lie with 90 %; `None`,
            and so all that follows, where the run is not calibrated.
        radius90_mm: Array likewise.
        present: Bool array `(N,)`, whether the landmarks are there.
        trusted: Bool, whether the image is like those that the run knows.
    """

    id: str
    group: str
    affine: np.ndarray
    points_px: np.ndarray
    score: np.ndarray
    covariance_px2: np.ndarray
    truth_px: Mapping[str | None, np.ndarray]
    radius90_px: np.ndarray | None = None
    radius90_mm: np.ndarray | None = None
    present: np.ndarray | None = None
    trusted: bool | None = None

    @property
    def calibrated(self) -> bool:
        """Whether the affine has a usable spacing."""
        return bool(has_usable_spacing(self.affine, NUMPY))

    def points(self, unit: str) -> np.ndarray:
        """Returns the points that were found, `(N, D)`."""
        return apply_affine(self._to(unit), self.points_px.astype(np.float64))

    def truth(self, observer: str | None, unit: str) -> np.ndarray:
        """Returns the points of an observer, `(N, D)`."""
        return apply_affine(self._to(unit), self.truth_px[observer])

    def distances(self, observer: str | None, unit: str) -> np.ndarray:
        """Returns how far off the points are, `(N,)`."""
        return point_distances(self.truth(observer, unit), self.points(unit))

    def spread(self, unit: str) -> np.ndarray:
        """Returns how wide the heatmaps' peaks are, `(N,)`: their root mean squares."""
        return spread_of(self._to(unit), self.covariance_px2)

    def radius90(self, unit: str) -> np.ndarray:
        """Returns within what the true points lie with 90 %, `(N,)`; NaN if unknown."""
        radius = self.radius90_px if unit == "px" else self.radius90_mm
        return np.full(len(self.score), np.nan) if radius is None else radius

    def _to(self, unit):
        if unit == "px":
            return np.eye(len(self.affine))
        if not self.calibrated:
            return np.full_like(self.affine, np.nan, np.float64)
        return self.affine
