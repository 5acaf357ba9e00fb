"""How often does `scn-keras drift` find a change, where there is one and where not?

    python -m benchmarks.drift [--repetitions 1000] [--out FILE.json]

Drawn answers of 19 landmarks: the images differ in quality, which scores, radii and
novelty share, beside what each landmark has of its own. Each repetition draws a
reference and new answers, and runs `drift` with its default of 1 % of false alarms, and
with 5 %. Reported is the share of repetitions with an alarm, with its exact 95 %
interval, for the same distribution and, with a tenth of the repetitions, for images
whose quality is worse by a fraction of its standard deviation, with earlier answers and
with a calibration as the reference.

With `--answers FILE FILE`, answers of `predict` are the population instead of drawn
ones: the first file of unchanged images, the second of changed ones. Baseline and new
answers are drawn from them without replacement.
"""

import argparse
import json
import pathlib
from collections.abc import Callable

import numpy as np

from scn_keras.inference.calibration import Calibration, trust_limit
from scn_keras.saved_models.monitoring.answers import Answers
from scn_keras.saved_models.monitoring.exact_tests import clopper_pearson
from scn_keras.saved_models.monitoring.find_drift import find_drift
from scn_keras.saved_models.monitoring.read_answers import read_answers

LANDMARKS, HELD_OUT = 19, 150
USUAL = np.linspace(0.6, 0.9, LANDMARKS)


def draw(random: np.random.Generator, n: int, shift: float, limit: float) -> Answers:
    """Answers about n images whose quality is worse by `shift` deviations."""
    quality = random.normal(size=(n, 1)) + shift
    own = random.normal(size=(2, n, LANDMARKS))
    score = np.clip(USUAL - 0.05 * quality + 0.08 * own[0], 0.01, 1.0)
    radius = 2.0 * np.exp(0.2 * quality + 0.1 * own[1])
    novelty = quality[:, 0] + 0.3 * random.normal(size=n)
    trusted = (novelty <= limit).astype(float)
    return Answers(score, radius, radius, trusted, novelty / limit)


def calibration(held_out: Answers) -> Calibration:
    """A calibration on answers that were drawn with a limit of 1."""
    n = LANDMARKS
    return Calibration(
        weights="",
        protocol={"n_images": len(held_out)},
        radius_factor=np.ones(n),
        least_score=np.full(n, 0.05),
        always=np.ones(n, bool),
        usual_score=np.median(held_out.score, axis=0),
        shape_mean=np.zeros((n, n, 2)),
        shape_deviation=np.ones((n, n)),
        usual=np.zeros(2),
        spread=np.ones(2),
        limit=trust_limit(held_out.novelty),
    )


def with_answers(
    random: np.random.Generator, shift: float, n: int
) -> tuple[Answers, Answers]:
    return draw(random, n, shift, 2.2), draw(random, n, 0.0, 2.2)


def with_calibration(
    random: np.random.Generator, shift: float, n: int
) -> tuple[Answers, Calibration]:
    made = calibration(draw(random, HELD_OUT, 0.0, 1.0))
    return draw(random, n, shift, made.limit), made


def share_of_alarms(
    sample: Callable[[np.random.Generator], tuple[Answers, Answers | Calibration]],
    repetitions: int,
    alpha: float,
) -> dict[str, object]:
    """Returns the percentage of repetitions with an alarm, and its interval."""
    random = np.random.default_rng(0)
    count = sum(
        find_drift(*sample(random), alpha=alpha)["drift"] for _ in range(repetitions)
    )
    bounds = clopper_pearson(count, repetitions)
    interval = [round(100.0 * bound, 1) for bound in bounds]
    return {"alarms_percent": 100.0 * count / repetitions, "ci95": interval}


def parts_of(population: Answers, other: Answers, n: int) -> Callable:
    """Returns a function that draws new answers and a baseline of n images each."""

    def sample(random: np.random.Generator) -> tuple[Answers, Answers]:
        order = random.permutation(len(population))
        return _select(other, order[:n]), _select(population, order[n : 2 * n])

    return sample


def _select(answers: Answers, rows: np.ndarray) -> Answers:
    return Answers(
        answers.score[rows],
        answers.radius90_px[rows],
        answers.radius90_mm[rows],
        answers.trusted[rows],
        answers.novelty[rows],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--answers", nargs=2, type=pathlib.Path)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    n, numbers = arguments.images, {}
    samples: dict[str, Callable] = {}
    if arguments.answers:
        unchanged, changed = (read_answers([path]) for path in arguments.answers)
        samples["unchanged"] = parts_of(unchanged, unchanged, n)
        samples["changed"] = parts_of(unchanged, changed, n)
    else:
        for kind in (with_answers, with_calibration):
            for shift in (0.0, 0.5, 1.0):
                samples[f"{kind.__name__}, shift {shift}"] = (
                    lambda random, kind=kind, shift=shift: kind(random, shift, n)
                )
    for name, sample in samples.items():
        # Of changes, an imprecise percentage suffices.
        is_null = name.endswith(" 0.0") or name == "unchanged"
        repetitions = arguments.repetitions if is_null else arguments.repetitions // 10
        for alpha in (0.01, 0.05):
            key = f"{name}, alpha {alpha}"
            numbers[key] = share_of_alarms(sample, repetitions, alpha)
            print(f"{key}: {numbers[key]}", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
