"""Localises landmarks by the votes of the stages of `EbnerForest`."""

import numpy as np

from scn_keras.classical import _pixels as pixels
from scn_keras.classical._votes import find_peak, moments_around, vote_map

_GLOBAL_STEP, _GLOBAL_SIGMA = 2, 2.0  # in px of the reduced image


def global_votes(image, stage, factor, distance):
    """Returns the votes of one forest for all landmarks and their weights.

    Args:
        image: Array of 2 or 3 axes.
        stage: `Stage` of one forest for all landmarks.
        factor: Int, the reduction of the image.
        distance: Float in px, the length at which the weight of a vote is 1 / e.

    Returns:
        Lists by landmark of votes `(V, D)` in px of the reduced image and of weights
        `(V,)`, and the sizes of the reduced image.
    """
    small = pixels.shrink(image, factor)
    at = pixels.grid_pixels(small.shape, _GLOBAL_STEP)
    (forest,) = stage.forests
    offsets = forest.votes(stage.features(small, at))
    votes = at[:, None, None] + offsets / factor
    weights = np.exp(-np.linalg.norm(offsets, axis=-1) / distance)
    rows = range(offsets.shape[2])
    return (
        [votes[:, :, row].reshape(-1, votes.shape[-1]) for row in rows],
        [weights[:, :, row].reshape(-1) for row in rows],
        small.shape,
    )


def global_maps(votes, weights, sizes):
    """Returns the smoothed votes of `global_votes`, `(*sizes, N)`."""
    maps = [
        vote_map(several, weight, sizes, _GLOBAL_SIGMA)
        for several, weight in zip(votes, weights, strict=True)
    ]
    return np.stack(maps, axis=-1)


def locate_globally(image, stage, factor, distance, springs=None):
    """Returns a list by landmark of point, score and covariance in px of the image.

    Args:
        image: Array of 2 or 3 axes.
        stage: `Stage` of one forest for all landmarks.
        factor: Int, the reduction of the image.
        distance: Float in px, the length at which the weight of a vote is 1 / e.
        springs: `Springs` in px of the reduced image, or `None` to localise every
            landmark separately.
    """
    votes, weights, sizes = global_votes(image, stage, factor, distance)
    maps = global_maps(votes, weights, sizes)
    if springs is None:
        peaks = [find_peak(maps[..., row]) for row in range(len(votes))]
    else:
        peaks = springs.peaks(maps)
    result = []
    for (point, height), several, weight in zip(peaks, votes, weights, strict=True):
        covariance = moments_around(point, several, weight, 3.0 * _GLOBAL_SIGMA)
        score = height / max(float(weight.sum()), 1e-30)
        result.append((pixels.in_grid(point, factor), score, covariance * factor**2))
    return result


def locate_locally(means, features, forest, point, radius):
    """Returns point, score and covariance of one landmark.

    Args:
        means: The box means of the image.
        features: `BoxDifferences`.
        forest: `OffsetForest` of the landmark.
        point: Array `(D,)`, the estimate.
        radius: Float in px, that of the training pixels.
    """
    sizes = means.shape[1:]
    step = max(1, round(radius / 12.0))
    at = pixels.ball_pixels(point, 0.5 * radius, step, sizes)
    offsets = forest.votes(features.at(means, at))[:, :, 0]
    weights = np.exp(-np.linalg.norm(offsets, axis=-1) / (0.5 * radius))
    votes = (at[:, None] + offsets).reshape(-1, len(point))
    # The map is a window around the point, which may lie partly outside.
    reach = int(np.ceil(1.5 * radius))
    corner = np.rint(np.clip(point, 0, np.array(sizes[::-1]) - 1)) - reach
    window = [2 * reach + 1] * len(sizes)
    sigma = max(1.0, radius / 12.0)
    peak = peak_of_votes(votes - corner, weights.reshape(-1), window, sigma)
    return peak[0] + corner, *peak[1:]


def peak_of_votes(votes, weights, sizes, sigma):
    """Returns point, score and covariance of the densest votes."""
    density = vote_map(votes, weights, sizes, sigma)
    point, height = find_peak(density)
    covariance = moments_around(point, votes, weights, 3.0 * sigma)
    return point, height / max(float(weights.sum()), 1e-30), covariance
