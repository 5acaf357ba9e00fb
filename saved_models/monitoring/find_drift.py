"""Comparison of the answers of a model with its calibration or with earlier answers."""

from typing import Any

import numpy as np

from scn_keras.inference.calibration import FALSE_ALARMS, Calibration
from scn_keras.saved_models.monitoring.answers import Answers, require_same_landmarks
from scn_keras.saved_models.monitoring.drift_from_answers import compare_with_answers
from scn_keras.saved_models.monitoring.drift_from_calibration import (
    compare_with_calibration,
)
from scn_keras.saved_models.monitoring.drift_text import reasons, verdict
from scn_keras.saved_models.monitoring.exact_tests import clopper_pearson

MIN_ANSWERS = 10


def find_drift(
    answers: Answers,
    reference: Answers | Calibration,
    alpha: float = 0.01,
    batch_size: int = 20,
) -> dict[str, Any]:
    """Tests whether answers still have the distribution of a reference.

    Only scores, radii, novelty and `trusted` are used, no images. The probability of a
    false alarm is at most `alpha` for all tests together, half of it for the answers as
    a whole and half for their batches, if images are independent: several images of
    one patient count as one at most.

    Earlier answers as the reference: ranks of the novelty, of `trusted`, and of score
    and radius of each landmark are compared by the largest standardised rank sum of all
    of these, whose distribution is that under random permutations of the images
    (Westfall and Young, Resampling-Based Multiple Testing, 1993); means of batches in
    the same way.

    A calibration as the reference: the number of images that are not trusted, and for
    each landmark the number of scores below 0.9 times the usual one, are compared with
    their exact beta-binomial distributions, which take the number of held-out images
    into account, with Holm's correction. Radii of held-out images are not a part of a
    calibration and are not compared.

    Args:
        answers: `Answers`, at least 10, in the order of time.
        reference: `Answers` of the same model, at least 10, or its `Calibration`.
        alpha: Float, the probability of a false alarm.
        batch_size: Int, about how many successive images are one batch.

    Returns:
        Dict for JSON: `drift` (bool), `verdict` (str), `reasons` (list of str),
        `n_images`, `alpha`, `reference` (dict), `trusted` (dict with number, percentage
        and exact 95 % interval of images that are not trusted, or `None`),
        `quantities` (list of dicts of what was compared, with `p` adjusted for their
        number, or `None` where it was not compared), and `batches`, with `p` likewise.

    Raises:
        ValueError: If there are too few answers, they have other landmarks than the
            reference, or an argument is not valid.

    Example:

    ```python
    result = find_drift(read_answers(["december.json"]), read_answers(["may.json"]))
    print(result["verdict"])
    ```
    """
    if not 0.0 < alpha < 0.5:
        raise ValueError(
            f"`alpha` must be above 0 and below 0.5. Received: alpha={alpha}"
        )
    if batch_size < 2:
        raise ValueError(
            f"`batch_size` must be at least 2. Received: batch_size={batch_size}"
        )
    _require_number(answers, "answers")
    if isinstance(reference, Answers):
        _require_number(reference, "answers of the baseline")
        require_same_landmarks(reference, answers)
        compared = compare_with_answers(answers, reference, alpha, batch_size)
    else:
        if len(reference.usual_score) != answers.score.shape[1]:
            raise ValueError(
                "The answers must be those of the calibrated model. Received: "
                f"{answers.score.shape[1]} landmarks in the answers, "
                f"{len(reference.usual_score)} in the calibration"
            )
        compared = compare_with_calibration(answers, reference, alpha, batch_size)
    result = {
        "n_images": len(answers),
        "alpha": alpha,
        "trusted": _trusted(answers, reference),
        **compared,
    }
    result["reasons"] = reasons(result, answers.names)
    result["drift"] = bool(result["reasons"])
    result["verdict"] = verdict(result)
    return result


def _require_number(answers, what):
    if len(answers) < MIN_ANSWERS:
        raise ValueError(
            f"A comparison requires at least {MIN_ANSWERS} images. Received: "
            f"{len(answers)} {what}"
        )


def _trusted(answers, reference):
    """Returns how many images are not trusted, with an exact interval."""
    known = answers.trusted[~np.isnan(answers.trusted)]
    if not known.size:
        return None
    number = int((known == 0.0).sum())
    low, high = clopper_pearson(number, known.size)
    expected = FALSE_ALARMS
    if isinstance(reference, Answers):
        expected = float(np.nanmean(reference.trusted == 0.0))
    return {
        "n_images": known.size,
        "not_trusted": number,
        "percent": 100.0 * number / known.size,
        "ci95_percent": [100.0 * low, 100.0 * high],
        "expected_percent": 100.0 * expected,
    }
