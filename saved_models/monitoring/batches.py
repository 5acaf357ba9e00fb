"""Successive batches of answers, for control charts."""

import numpy as np

from scn_keras.saved_models.monitoring.answers import Answers

# Means of few images would otherwise depend on the most unusual of them alone.
_LARGEST_NOVELTY = 3.0


def batch_slices(number: int, batch_size: int) -> list[slice]:
    """Returns the slices of batches of about equal size.

    Args:
        number: Int, the number of images.
        batch_size: Int, the size of a batch.

    Example:

    >>> batch_slices(9, 4)
    [slice(0, 4, None), slice(4, 9, None)]
    """
    count = max(number // batch_size, 1)
    edges = [number * k // count for k in range(count + 1)]
    return [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]


def batch_values(
    answers: Answers, score: np.ndarray, radius: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the known values of each image, of which batches have means.

    Args:
        answers: `Answers`.
        score: Array `(n, N)`, scores or their ratios to usual ones.
        radius: Array `(n, N)`, 90 % radii in one unit.

    Returns:
        Dict of arrays `(n,)` by quantity: `"not trusted"`, `"novelty"`, `"score"` (the
        mean over landmarks) and `"radius"` (the mean of logarithms).
    """
    columns = {
        "not trusted": 1.0 - answers.trusted,
        "novelty": np.minimum(answers.novelty, _LARGEST_NOVELTY),
        "score": np.nanmean(score, axis=1),
        "radius": _mean_log(radius),
    }
    return {name: x for name, x in columns.items() if not np.isnan(x).any()}


def _mean_log(radius):
    """Returns means over landmarks, NaN for images without any radius."""
    known = np.isfinite(radius) & (radius > 0.0)
    log = np.log(np.where(known, radius, 1.0))
    count = known.sum(axis=1)
    return np.where(count, log.sum(axis=1) / np.maximum(count, 1), np.nan)
