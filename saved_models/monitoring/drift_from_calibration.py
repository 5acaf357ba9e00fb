"""Comparison of answers with the calibration of their model."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scn_keras.inference.calibration import FALSE_ALARMS, Calibration
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.saved_models.monitoring.answers import Answers
from scn_keras.saved_models.monitoring.batches import batch_slices, batch_values
from scn_keras.saved_models.monitoring.exact_tests import beta_binomial_upper, holm

# Scores of a run on new images are estimated from those of the models of the folds. A
# smaller difference from the usual score may be an error of this estimate.
LOW_SCORE = 0.9
# Of calibrations that do not contain the number of their images.
_MANY = 10_000


def compare_with_calibration(
    answers: Answers, calibration: Calibration, alpha: float, batch_size: int
) -> dict[str, Any]:
    """Returns what `find_drift` adds for a calibration as the reference."""
    number = _number_of_images(calibration.protocol)
    n = len(answers)
    low = answers.score < LOW_SCORE * calibration.usual_score
    above_median = number // 2 + 1, number - number // 2
    quantities: list[dict[str, Any]] = [
        {
            "quantity": "score",
            "landmark": index,
            "value": float(np.nanmedian(answers.score[:, index])),
            "reference": float(calibration.usual_score[index]),
            "p": beta_binomial_upper(int(low[:, index].sum()), n, *above_median),
        }
        for index in range(low.shape[1])
    ]
    is_known = not np.isnan(answers.trusted).any()
    exceeding = _exceeding(number)
    if is_known:
        count = int((answers.trusted == 0).sum())
        share = {
            "quantity": "not trusted",
            "landmark": None,
            "value": count / n,
            "reference": FALSE_ALARMS,
            "p": beta_binomial_upper(count, n, *exceeding),
        }
        quantities.insert(0, share)
    for quantity, p in zip(
        quantities, holm(np.array([q["p"] for q in quantities])), strict=True
    ):
        quantity["p"] = float(p)
    ratio = answers.score / calibration.usual_score
    values = batch_values(answers, ratio, answers.radius90_px)
    values.pop("radius", None)  # without a reference
    slices = batch_slices(n, batch_size)
    batches: dict[str, Any] = {
        "slices": [[part.start, part.stop] for part in slices],
        "values": {
            name: [float(column[part].mean()) for part in slices]
            for name, column in values.items()
        },
        "reference": {
            "not trusted": FALSE_ALARMS,
            "score": 1.0 - float(calibration.usual[0]),
        },
        "limits": {},
        "p": {},
    }
    if is_known and len(slices) > 1:
        counts = [int((answers.trusted[part] == 0).sum()) for part in slices]
        sizes = [part.stop - part.start for part in slices]
        p = [
            beta_binomial_upper(count, size, *exceeding)
            for count, size in zip(counts, sizes, strict=True)
        ]
        batches["p"]["not trusted"] = holm(np.array(p)).tolist()
        each = 0.5 * alpha / len(slices)
        batches["limits"]["not trusted"] = [
            [0.0, _largest(size, exceeding, each) / size] for size in sizes
        ]
    return {
        "reference": {
            "kind": "calibration",
            "n_images": number if number != _MANY else None,
            "radii_calibrated_on": calibration_source(calibration.protocol),
        },
        "unit": None,
        "quantities": quantities,
        "batches": batches,
    }


def _number_of_images(protocol: Mapping[str, Any]) -> int:
    """Returns the number of images that determined typical scores and the limit.

    Those of `adapt` and of `calibrate --folder` count alone, even if they are few:
    their clinic is compared, and its scores and novelty moved the calibration.
    """
    added = protocol.get("recalibrated") or [protocol]
    last = added if isinstance(added, Mapping) else added[-1]
    return last.get("n_images") or _MANY


def _exceeding(number: int) -> tuple[int, int]:
    """Returns the distribution of the share of images above the limit of trust.

    It is Beta(a, b), because the limit is the b-th smallest novelty, see `trust_limit`.
    """
    rank = min(math.ceil((1.0 - FALSE_ALARMS) * (number + 1)), number)
    return number + 1 - rank, rank


def _largest(size, exceeding, alpha):
    """Returns the largest number of images that is not an alarm."""
    count = 0
    while count < size and beta_binomial_upper(count + 1, size, *exceeding) > alpha:
        count += 1
    return count
