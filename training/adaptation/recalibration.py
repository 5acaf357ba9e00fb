"""Radii and trust of a calibrated run in another clinic, from few images."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from scn_keras import __version__
from scn_keras.inference.calibration import COVERAGE, Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.training.adaptation.labelled_images import LabelledImages
from scn_keras.training.evaluation.trained_ratio import TRAINED_RATIO

# The quantile of a landmark is that of its own ratios, together with those of all
# landmarks, which count as this number of images, and with the ratios of the
# calibration before, which count as that number.
_IMAGES_OF_ALL, _IMAGES_BEFORE = 9.0, 5.0
# In the re-basing of scores, the calibration before counts as this number of images.
_SCORES_BEFORE = 5.0
# From this number of its own images on, the quantile of a landmark is conformal.
MIN_OWN = 9
# `trained_ratio` for calibrations that do not contain it: that of the preset
# `cephalogram`.
_TRAINED_RATIO = 0.44
RECALIBRATED = "recalibrated"


def recalibrated(
    calibration: Calibration,
    images: HeldOutImages,
    residual: np.ndarray,
    seen: np.ndarray,
    weights: str,
    protocol: Mapping[str, Any],
) -> Calibration:
    """Returns a calibration for the clinic of a few images.

    Radii: The ratios of errors to radii of a landmark are pooled with those of all
    landmarks and with those of the calibration before, since few images alone have no
    90 % quantile. The radii are multiplied by the weighted quantile. Of images that the
    model was trained on, errors are too small. There, only what the quantile exceeds
    that of images of the training is added, in quadrature.

    Trust: The typical scores, if those of the images are lower, and the limit of the
    novelty, if they are novel as a whole, are moved towards the images. A single image
    that differs from the others has little influence.

    Args:
        calibration: `Calibration` of the run before.
        images: `HeldOutImages` with the points of the model without offsets.
        residual: Array `(n, N)`, the errors in the space of `images`, of points with
            offsets that were estimated from other images; NaN if missing.
        seen: Bool array `(n,)`, whether the model was trained on the image.
        weights, protocol: Those of the result.

    Returns:
        `Calibration`.
    """
    radius = calibration.radius(images.score, images.covariance, images.grid_to_space)
    ratio = residual / ops.convert_to_numpy(radius)
    factor = _radius_change(ratio, seen, calibration.protocol, images.points.shape[-1])
    present = ~np.isnan(images.truth).any(-1)
    score = _score_change(images.score / calibration.usual_score, present)
    moved = dataclasses.replace(
        calibration,
        weights=weights,
        protocol=dict(protocol),
        radius_factor=calibration.radius_factor * factor,
        usual_score=calibration.usual_score * score,
        least_score=calibration.least_score * score,
    )
    novelty = ops.convert_to_numpy(moved.novelty(images.points, images.score))
    novel = min(novelty.max(), np.median(novelty) + calibration.limit)
    return dataclasses.replace(moved, limit=max(calibration.limit, float(novel)))


def with_recalibration(
    protocol: Mapping[str, Any], command: str, labelled: LabelledImages
) -> dict[str, Any]:
    """Returns the protocol of a calibration with one more entry of `recalibrated`.

    Args:
        protocol: Mapping, `Calibration.protocol`.
        command: Str, the command that recalibrated, `"adapt"` or `"calibrate"`.
        labelled: `LabelledImages`.
    """
    entry = {"command": command, **labelled.description(), "scn_keras": __version__}
    return {**protocol, RECALIBRATED: [*protocol.get(RECALIBRATED, ()), entry]}


def _radius_change(ratio, seen, protocol, d):
    """Returns the factors `(N,)` by which radii change."""
    change = np.zeros(ratio.shape[1])
    for rows in (seen, ~seen):
        if not rows.any():
            continue
        of_training = 1.0
        if rows is seen:
            of_training = float(protocol.get(TRAINED_RATIO, _TRAINED_RATIO))
        quantile = _quantiles(ratio[rows], of_training, d)
        if rows is seen:
            added = np.square(quantile) - of_training**2
            quantile = np.sqrt(1.0 + np.maximum(added, 0.0))
        change += rows.mean() * np.log(quantile)
    return np.exp(change)


def _quantiles(ratio, of_before, d):
    """Returns the weighted 90 % quantile of each landmark."""
    before = of_before * _lengths(d)
    of_all = ratio[~np.isnan(ratio)]
    quantiles = []
    for column in ratio.T:
        own = column[~np.isnan(column)]
        values = np.concatenate([own, of_all, before])
        weights = np.repeat(
            [1.0, _IMAGES_OF_ALL / of_all.size, _IMAGES_BEFORE / before.size],
            [own.size, of_all.size, before.size],
        )
        order = np.argsort(values, kind="stable")
        cumulated = np.cumsum(weights[order])
        # The next image counts as one more of its own, with an infinite ratio, as in
        # conformal prediction; those of other landmarks and before are only a prior.
        total = cumulated[-1] + min(own.size / MIN_OWN, 1.0)
        index = np.searchsorted(cumulated, COVERAGE * total - 1e-9)
        quantiles.append(values[order][min(index, values.size - 1)])
    return np.array(quantiles)


def _lengths(d):
    """Returns lengths of normal vectors, of which 90 % are below 1."""
    fractions = (np.arange(200) + 0.5) / 200.0
    if d == 2:
        return np.sqrt(np.log(1.0 - fractions) / math.log(1.0 - COVERAGE))
    grid = np.linspace(0.0, 6.0, 6001)
    density = np.square(grid) * np.exp(-0.5 * np.square(grid))
    below = np.cumsum(density) / density.sum()
    lengths = np.interp([*fractions, COVERAGE], below, grid)
    return lengths[:-1] / lengths[-1]


def _score_change(ratio, present):
    """Returns the factors `(N,)` by which typical scores change, at most 1.

    Scores of images that the model was trained on are too high, so that none is raised.
    """
    ratio = np.where(present, ratio, np.nan)
    known = present.any(0)
    median = np.ones(ratio.shape[1])
    median[known] = np.nanmedian(ratio[:, known], axis=0)
    own = present.sum(0) / (present.sum(0) + _SCORES_BEFORE)
    return np.minimum(1.0, 1.0 + own * (median - 1.0))
