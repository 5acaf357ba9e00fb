import dataclasses
from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.appearance import (
    appearance_scores,
    extent,
    mean_contrast,
)
from scn_keras.datasets.check.reading import BETTER, MIN_TEXTURE, outside
from scn_keras.datasets.check.set_readings import SetReading

# Correct points of the published sets score 0.1 and more above all other readings.
MIN_GAIN, _MIN_RATIO, _MIN_T = 0.05, 1.25, 4.0
# Mean ratio of the contrast at the points. Other readings of the published sets have at
# most 1.2 times the contrast of the correct one.
_MIN_CONTRAST_RATIO, _MIN_CONTRAST_T = 1.5, 5.0
MIN_COMPARED = 5
# Readings that gather all points in a small part of the images, which may look alike in
# all of them (a corner, a label), are no improvement.
_MIN_EXTENT = 0.1
_MIN_EXTENT_RATIO = 0.8
# Wrong readings of volumes in any pose gain in resemblance, and lose contrast.
_MIN_KEPT_CONTRAST = 0.7
# The strength of all points moved inside.
_INSIDE = 10.0
# Added to a contrast before ratios are taken.
_FLOOR = 0.05


@dataclasses.dataclass(frozen=True)
class Evidence:
    """A reading of the coordinates of a set, and how much better it fits.

    Args:
        readings: List of `SetReading`, one for each annotation.
        score: Float, the mean of `appearance_scores`.
        looks_alike: Bool, whether it is decisively higher than that of the points as
            they are.
        contrast_ratio: Float, the mean ratio of the contrast at the points.
        has_contrast: Bool, whether the contrast is decisively higher.
        moved_inside: Int, the number of annotations of which more points lie on the
            image.
        strength: Float, the sum of both gains, in units of the smallest decisive one.
    """

    readings: list[SetReading]
    score: float
    looks_alike: bool
    contrast_ratio: float
    has_contrast: bool
    moved_inside: int
    strength: float

    @property
    def kind(self) -> str:
        return self.readings[0].kind


class SetEvidence:
    """Compares readings of a set with the points as they are.

    Args:
        annotations: Sequence of `Annotation`.

    Attributes:
        score: Float, the mean of `appearance_scores` of the points as they are.
    """

    def __init__(self, annotations: Sequence[Annotation]) -> None:
        self._annotations = annotations
        self._scores = appearance_scores(annotations, [a.points for a in annotations])
        self._contrast = np.array([mean_contrast(a, a.points) for a in annotations])
        self._inside = np.array([_inside(a, a.points) for a in annotations])
        self._extent = np.median([extent(a, a.points) for a in annotations])
        self.score = float(self._scores.mean())

    def of(self, readings: list[SetReading]) -> Evidence | None:
        """Returns the evidence for a reading; None if it is not better.

        Args:
            readings: List of `SetReading`, one for each annotation.
        """
        moved = [reading.points for reading in readings]
        pairs = list(zip(self._annotations, moved, strict=True))
        inside = np.array([_inside(*pair) for pair in pairs])
        if inside.mean() < self._inside.mean() - 0.02:
            return None
        moved_extent = float(np.median([extent(*pair) for pair in pairs]))
        if moved_extent < min(_MIN_EXTENT, _MIN_EXTENT_RATIO * self._extent):
            return None
        contrast = np.array([mean_contrast(*pair) for pair in pairs])
        scores = appearance_scores(self._annotations, moved)
        ratios = np.log((contrast + _FLOOR) / (self._contrast + _FLOOR))
        looks_alike = self._looks_alike(scores, contrast, moved_extent)
        has_contrast = scores.mean() > self.score - 0.02 and (
            self._is_mostly_better(contrast, inside) or _has_contrast(ratios, contrast)
        )
        if not looks_alike and not has_contrast:
            return None
        gain = max(float(scores.mean()) - self.score, 0.0) / MIN_GAIN
        contrast_gain = float(ratios.mean()) / np.log(_MIN_CONTRAST_RATIO)
        return Evidence(
            readings,
            float(scores.mean()),
            looks_alike,
            float(np.exp(ratios.mean())),
            has_contrast,
            int((inside > self._inside).sum()),
            gain + contrast_gain - 100.0 * (moved_extent < _MIN_EXTENT),
        )

    def _looks_alike(
        self, scores: np.ndarray, contrast: np.ndarray, moved_extent: float
    ) -> bool:
        as_is = self._scores
        if self._extent < _MIN_EXTENT <= moved_extent:
            # A corner may look alike in all images.
            as_is = 0.5 * as_is
        elif contrast.mean() < _MIN_KEPT_CONTRAST * self._contrast.mean():
            return False
        gain = scores - as_is
        if len(gain) < MIN_COMPARED or gain.mean() < MIN_GAIN:
            return False
        return scores.mean() >= _MIN_RATIO * as_is.mean() and _t(gain) >= _MIN_T

    def _is_mostly_better(self, contrast: np.ndarray, inside: np.ndarray) -> bool:
        """Whether half of the annotations have twice the contrast, a tenth half."""
        better = contrast > np.maximum(BETTER * self._contrast, 1e-9)
        better &= inside >= self._inside
        better &= (inside > self._inside) | (contrast > MIN_TEXTURE)
        worse = self._contrast > np.maximum(BETTER * contrast, MIN_TEXTURE)
        return 2 * int(better.sum()) >= len(contrast) >= 10 * int(worse.sum())


def mean_strengths(
    annotations: Sequence[Annotation], points: Sequence[np.ndarray]
) -> np.ndarray:
    """Returns how much better other points fit the images than the points as they are.

    Args:
        annotations: Sequence of A `Annotation`.
        points: Sequence of A arrays `(N, D)`.

    Returns:
        Array `(A,)`, in units of the smallest decisive difference of a set; negative
        if the points as they are fit better.
    """
    total = np.zeros(len(annotations))
    for sign, values in ((-1.0, [a.points for a in annotations]), (1.0, points)):
        pairs = list(zip(annotations, values, strict=True))
        contrast = np.array([mean_contrast(*pair) for pair in pairs])
        inside = np.array([_inside(*pair) for pair in pairs])
        scores = appearance_scores(annotations, values)
        contrasts = np.log(contrast + _FLOOR) / np.log(_MIN_CONTRAST_RATIO)
        total += sign * (scores / MIN_GAIN + contrasts + _INSIDE * inside)
    return total


def _has_contrast(ratios: np.ndarray, contrast: np.ndarray) -> bool:
    if len(ratios) < MIN_COMPARED or contrast.mean() < MIN_TEXTURE:
        return False
    decisive = ratios.mean() >= np.log(_MIN_CONTRAST_RATIO)
    return bool(decisive) and _t(ratios) >= _MIN_CONTRAST_T


def _t(values: np.ndarray) -> float:
    """The mean in standard errors."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() / max(error, 1e-9))


def _inside(annotation: Annotation, points: np.ndarray) -> float:
    present = points[~np.isnan(points).any(axis=-1)]
    return 1.0 - float(outside(present, annotation.facts.size).mean())
