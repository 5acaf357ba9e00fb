import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, has_usable_spacing, root_mean_square_width

# On held-out cephalograms and hands, the mean error was 0.24 and 0.17 times the mean
# ratio of peak width to score.
_ERROR_TO_WIDTH = 0.2
_MIN_SCORE = 0.05  # lower scores do not indicate larger errors


@dataclasses.dataclass(frozen=True, eq=False)
class LocatedImage:
    """The landmarks that a model predicts for one image.

    This is the common result of evaluation, calibration and prediction, with a run, an
    exported or a served model. The methods have an argument `unit`: `"px"` for pixels
    of the image or `"mm"` for millimetres. Millimetres are computed with the affine and
    are NaN if it has no usable spacing.

    Args:
        id: Str, the id of a stored sample or the path of a file.
        affine: Array `(D + 1, D + 1)`, pixels to mm.
        points_px: Array `(N, D)` in pixels of the image, x, y(, z), with the centre of
            the first pixel at 0.
        score: Array `(N,)`, from 0 to 1.
        covariance_px2: Array `(N, D, D)`, of the heatmaps' peaks; NaN if an exported
            model of an early version does not return it.
        radius90_px: Array `(N,)`, the radius that contains the true point with a
            probability of 90 %. `None` for models without calibration, as the next
            four.
        radius90_mm: Array `(N,)`, in mm; NaN without a usable spacing.
        present: Bool array `(N,)`, whether the landmark is in the image.
        trusted: Bool, whether the image is similar to the training images.
        novelty: Float, how much it differs from them, at most 1 for trusted images;
            also `None` if an exported model of an early version does not return it.
        group: Str, the patient.
        truth_px: Mapping of observers to arrays `(N, D)`, NaN if missing.
        notes: Tuple of str, remarks on the file for the user.
        grid_image: Array `(*grid, 1)`, the input of the network, or `None`.
        grid_to_source: Array `(D + 1, D + 1)`, from the grid to the image, or `None`.
        calibration_source: Str, the images on which the radii were calibrated, see
            `calibration_source`; `None` if a served model of an early version does not
            return it.
    """

    id: str
    affine: np.ndarray
    points_px: np.ndarray
    score: np.ndarray
    covariance_px2: np.ndarray
    radius90_px: np.ndarray | None = None
    radius90_mm: np.ndarray | None = None
    present: np.ndarray | None = None
    trusted: bool | None = None
    novelty: float | None = None
    group: str = ""
    truth_px: Mapping[str | None, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    grid_image: np.ndarray | None = None
    grid_to_source: np.ndarray | None = None
    calibration_source: str | None = None

    @classmethod
    def from_outputs(
        cls, outputs: Mapping[str, Any], id: str, affine: np.ndarray, **fields: Any
    ) -> "LocatedImage":
        """Creates the result of one image.

        Args:
            outputs: Mapping, the output of `Locator.locate` or of a graph for one
                image. Entries that early versions do not return may be missing.
            id, affine, **fields: See the class.
        """
        points = outputs["points_px"]
        d = points.shape[-1]
        unknown = np.full((1, d, d), math.nan)
        uncertainty: dict[str, Any] = {}
        # The radii of models without calibration are NaN.
        if np.isfinite(outputs.get("radius90_px", math.nan)).any():
            names = "radius90_px", "radius90_mm", "present", "trusted"
            uncertainty = {name: outputs[name] for name in names}
            uncertainty["trusted"] = bool(uncertainty["trusted"])
            novelty = outputs.get("novelty")
            uncertainty["novelty"] = None if novelty is None else float(novelty)
        return cls(
            id,
            affine,
            points,
            outputs["score"],
            outputs.get("covariance_px2", unknown),
            grid_image=outputs.get("grid_image"),
            grid_to_source=outputs.get("grid_to_source"),
            **uncertainty,
            **fields,
        )

    @property
    def file(self) -> pathlib.Path:
        """The path of the image, for predictions."""
        return pathlib.Path(self.id)

    @property
    def calibrated(self) -> bool:
        """Whether the affine has a usable spacing."""
        return bool(has_usable_spacing(self.affine, NUMPY))

    @property
    def points_mm(self) -> np.ndarray:
        """The points in mm, float32 `(N, D)`; NaN without a usable spacing."""
        return self.points("mm").astype(np.float32)

    def points(self, unit: str) -> np.ndarray:
        """Returns the predicted points, `(N, D)`."""
        return apply_affine(self._to(unit), self.points_px.astype(np.float64))

    def truth(self, observer: str | None, unit: str) -> np.ndarray:
        """Returns the true points of an observer, `(N, D)`."""
        return apply_affine(self._to(unit), self.truth_px[observer])

    def distances(self, observer: str | None, unit: str) -> np.ndarray:
        """Returns the distances between predicted and an observer's points, `(N,)`."""
        from scn_keras.metrics.on_arrays import point_distances  # loads Keras

        return point_distances(self.truth(observer, unit), self.points(unit))

    def peak_width(self, unit: str) -> np.ndarray:
        """Returns the root mean square widths of the heatmaps' peaks, `(N,)`."""
        return root_mean_square_width(self._to(unit), self.covariance_px2)

    def radius90(self, unit: str) -> np.ndarray | None:
        """Returns the 90 % radii, `(N,)`, or `None` without calibration."""
        return self.radius90_px if unit == "px" else self.radius90_mm

    def expected_error(self, unit: str) -> np.ndarray:
        """Returns the expected error of each landmark, `(N,)`, see `expected_error`."""
        return expected_error(self.peak_width(unit), self.score)

    def _to(self, unit):
        if unit == "px":
            return np.eye(len(self.affine))
        if not self.calibrated:
            return np.full_like(self.affine, np.nan, np.float64)
        return self.affine


def expected_error(width: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Returns a rough estimate of errors for models without calibration.

    It is a fifth of the width of the heatmap's peak, divided by its score, since
    uncertain peaks are wide and low. It is intended for ranking images. On the images
    of two real data sets, the rank correlation of its mean with the mean error is 0.34
    (150 cephalograms) and 0.52 (47 hands), and the factor of a fifth is correct within
    a quarter of its value. It does not detect confident but wrong predictions.

    Args:
        width: Array, root mean square widths of peaks, in any unit.
        score: Array of the same shape, from 0 to 1.

    Returns:
        Array of errors in the unit of the widths.

    Example:

    >>> expected_error(np.array([3.0, 3.0]), np.array([1.0, 0.5]))
    array([0.6, 1.2])
    """
    return _ERROR_TO_WIDTH * width / np.maximum(score, _MIN_SCORE)
