"""Constant offsets of landmarks from few images, by empirical Bayes."""

from typing import NamedTuple

import numpy as np

# Degrees of freedom of the t distribution of errors: a few points are far off.
_NU = 4.0
_STEPS, _PRIOR_STEPS = 30, 200
# The standard deviation of a landmark known in advance counts as much as that of this
# number of components of vectors.
_PRIOR_COMPONENTS = 6.0
# Standard deviations of true offsets in the prior, relative to that of an error.
_WIDTHS = np.array([0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
# In the estimation of the prior, 0 counts as that many landmarks more.
_NULL_LANDMARKS = 1.0


class ShrunkOffsets(NamedTuple):
    """Offsets of landmarks, shrunk by their evidence.

    Attributes:
        offsets: Array `(N, D)`.
        raw: Array `(N, D)`, the robust means; 0 for a landmark without points.
        deviation: Array `(N,)`, the standard deviation of an error along an axis.
        evidence: Array `(N,)`, the probability that there is an offset.
    """

    offsets: np.ndarray
    raw: np.ndarray
    deviation: np.ndarray
    evidence: np.ndarray


def shrunk_offsets(
    vectors: np.ndarray, expected: np.ndarray | None = None
) -> ShrunkOffsets:
    """Estimates the constant part of vectors from few images.

    The vectors of a landmark are its offset and errors with a t distribution, whose
    outliers have little weight. The offsets of all landmarks have a common prior, a
    mixture of normal distributions around 0 with standard deviations from 0 to 8 times
    that of an error; its weights are estimated from all landmarks (adaptive shrinkage:
    Stephens, Biostatistics 18, 2017). So a landmark without evidence stays, also if
    others have large offsets, and a large offset is hardly reduced.

    Args:
        vectors: Array `(n, N, D)`, one row for each patient; NaN if missing.
        expected: Array `(N,)`, the standard deviation of an error along an axis that
            is known in advance, such as that of a calibration; `None` if unknown. It
            has the same influence as six components of vectors, apart from a factor
            that is common to all landmarks.

    Returns:
        `ShrunkOffsets`.

    Raises:
        ValueError: If no landmark has two vectors.

    Example:

    >>> random = np.random.default_rng(0)
    >>> vectors = random.normal(size=(5, 6, 2)) + ([[4, 0]] + 5 * [[0, 0]])
    >>> estimate = shrunk_offsets(vectors)
    >>> np.round(estimate.offsets[0] - [4, 0], 1)
    """
    vectors = np.asarray(vectors, np.float64)
    n, _, d = vectors.shape
    known = ~np.isnan(vectors).any(-1)
    counts = known.sum(0)
    if not (counts >= 2).any():
        raise ValueError(
            "Offsets require a landmark with points in at least two images. Received: "
            f"{n} images"
        )
    filled = np.where(known[..., None], vectors, 0.0)
    relative = np.ones(len(counts)) if expected is None else np.asarray(expected)
    relative = np.where(relative > 0.0, relative, np.median(relative[relative > 0.0]))
    mean, deviation, information = _robust_means(filled, known, relative)
    measured = counts > 0
    error = deviation / np.sqrt(np.maximum(information, 1e-9))
    widths = _WIDTHS * np.median(deviation[measured])
    posterior = _posterior(mean[measured], error[measured], widths)
    kept = np.zeros(len(counts))
    shares = widths**2 / (widths**2 + np.square(error[measured])[:, None])
    kept[measured] = (posterior * shares).sum(1)
    evidence = np.zeros(len(counts))
    evidence[measured] = 1.0 - posterior[:, 0]
    return ShrunkOffsets(mean * kept[:, None], mean, deviation, evidence)


def _robust_means(vectors, known, relative):
    """Returns means, standard deviations of errors and sums of weights.

    It maximises the likelihood of t distributions by expectation maximisation, where
    the deviation of each landmark has a prior.
    """
    n, count, d = vectors.shape
    mean = np.zeros((count, d))
    for k in range(count):
        if known[:, k].any():
            mean[k] = np.median(vectors[known[:, k], k], axis=0)
    squared = np.where(known, np.square(vectors - mean).sum(-1), np.nan)
    # Half of the squared lengths are below 2 log(2) variances in 2D; the start needs
    # no more than the order of magnitude.
    common = np.nanmedian(squared / np.square(relative)) / d
    deviation = relative * np.sqrt(max(common, 1e-12))
    weights = known.astype(float)
    free = np.maximum(known.sum(0) - 1, 0) * d
    for _ in range(_STEPS):
        squared = np.square(vectors - mean).sum(-1)
        weights = known * (_NU + d) / (_NU + squared / np.square(deviation))
        total = np.maximum(weights.sum(0), 1e-12)[:, None]
        mean = (weights[..., None] * vectors).sum(0) / total
        sums = (weights * np.square(vectors - mean).sum(-1)).sum(0)
        common = (sums / np.square(relative)).sum() / max(free.sum(), 1)
        prior = _PRIOR_COMPONENTS * max(common, 1e-12) * np.square(relative)
        deviation = np.sqrt((prior + sums) / (_PRIOR_COMPONENTS + free))
    return mean, deviation, weights.sum(0)


def _posterior(mean, error, widths):
    """Returns the probabilities `(N, J)` of the components of the prior."""
    d = mean.shape[-1]
    variance = np.square(widths) + np.square(error)[:, None]
    squared = np.square(mean).sum(-1)[:, None]
    log_likelihood = -0.5 * (d * np.log(variance) + squared / variance)
    likelihood = np.exp(log_likelihood - log_likelihood.max(1, keepdims=True))
    share = np.full(len(widths), 1.0 / len(widths))
    for _ in range(_PRIOR_STEPS):
        posterior = likelihood * share
        posterior /= posterior.sum(1, keepdims=True)
        share = posterior.sum(0)
        share[0] += _NULL_LANDMARKS
        share /= share.sum()
    posterior = likelihood * share
    return posterior / posterior.sum(1, keepdims=True)
