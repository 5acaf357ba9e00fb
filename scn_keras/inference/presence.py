"""Scores of landmarks that are present in an image or missing."""

import numpy as np

# Trained models have lower scores only for landmarks that are not in the image.
MIN_SCORE = 0.05

# Threshold of presence: the quantile of the scores of present landmarks, the factor by
# which it is multiplied, and the number of images without and with a landmark that are
# required for a threshold of its own.
_LOW_SCORES, _MARGIN = 0.01, 0.5
_MIN_MISSING = 5


def typical_scores(score: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns the median score of each landmark where it is present, `(N,)`.

    Args:
        score: Array `(n, N)`.
        present: Bool array `(n, N)`, whether the image has the landmark.
    """
    median = float(np.median(score[present]))
    typical = [
        np.median(column[rows]) if rows.any() else median
        for column, rows in zip(score.T, present.T, strict=True)
    ]
    return np.maximum(typical, MIN_SCORE)


def min_scores(ratio: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns thresholds of presence as fractions of typical scores, `(N,)`.

    `Calibration.fit` describes them.

    Args:
        ratio: Array `(n, N)` of the ratios of scores to typical ones.
        present: As in `typical_scores`.
    """
    common = _MARGIN * float(np.quantile(ratio[present], _LOW_SCORES))
    if (~present).sum() >= _MIN_MISSING:
        common = _best_threshold(ratio.ravel(), present.ravel())
    enough = np.minimum((~present).sum(0), present.sum(0)) >= _MIN_MISSING
    return np.array(
        [
            _best_threshold(ratio[:, k], present[:, k]) if enough[k] else common
            for k in range(ratio.shape[1])
        ]
    )


def _best_threshold(value: np.ndarray, present: np.ndarray) -> float:
    """Returns the threshold with the best F1 of presence, between two values."""
    order = np.argsort(value, kind="stable")
    value, present = value[order], present[order]
    # True positives if the k-th and all larger values are classified as present.
    hits = present[::-1].cumsum()[::-1]
    f1 = 2.0 * hits / (np.arange(present.size, 0, -1) + present.sum())
    f1[1:][value[1:] == value[:-1]] = -1.0  # no threshold lies between equal values
    best = int(f1.argmax())
    return float(0.5 * (value[best] + (value[best - 1] if best else 0.0)))
