import dataclasses

import numpy as np
import pytest
from scipy import stats

from scn_keras.inference.calibration import Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.training.adaptation.recalibration import (
    _lengths,
    recalibrated,
)
from scn_keras.training.evaluation.trained_ratio import TRAINED_RATIO, trained_ratio

N = 8


def images(n, seed, deviation=1.0, score=1.0, d=2):
    """Returns images with normal errors, and their errors `(n, N)`."""
    random = np.random.default_rng(seed)
    shape = np.random.default_rng(99).normal(size=(N, d)) * 30.0
    truth = shape + random.normal(size=(n, 1, d)) * 5.0
    error = deviation * random.normal(size=truth.shape)
    held_out = HeldOutImages(
        truth + error,
        score * random.uniform(0.9, 1.1, (n, N)),
        np.tile(np.eye(d), (n, N, 1, 1)),
        truth,
        np.tile(np.eye(d + 1), (n, 1, 1)),
        np.arange(n) % 5,
    )
    return held_out, np.linalg.norm(error, axis=-1)


def coverage(calibration, held_out, error):
    radius = np.asarray(
        calibration.radius(held_out.score, held_out.covariance, held_out.grid_to_space)
    )
    return np.mean(error <= radius)


@pytest.fixture(scope="module")
def before():
    return Calibration.fit(images(200, 0)[0], protocol={TRAINED_RATIO: 0.5})


def again(before, n, seed, deviation, seen=False, **options):
    held_out, error = images(n, seed, deviation, **options)
    rows = np.full(n, seen)
    return recalibrated(before, held_out, error, rows, "new", {"folder": 1})


@pytest.mark.parametrize("n", [3, 5, 10, 20])
@pytest.mark.parametrize("deviation", [1.0, 1.5])
def test_coverage_in_the_new_clinic(before, n, deviation):
    # Errors 1.5 times as large: 68 % within the radii before, by the chi distribution.
    test = images(400, 1, deviation)
    results = [
        coverage(again(before, n, seed, deviation), *test) for seed in range(2, 12)
    ]
    assert 0.86 < np.mean(results) < 0.94
    expected = stats.chi2.cdf(stats.chi2.ppf(0.9, 2) / deviation**2, 2)
    assert coverage(before, *test) == pytest.approx(expected, abs=0.02)


def test_the_same_clinic_keeps_its_radii(before):
    for n in (3, 20):
        ratio = np.mean(
            [
                again(before, n, seed, 1.0).radius_factor / before.radius_factor
                for seed in range(2, 12)
            ]
        )
        assert ratio == pytest.approx(1.0, abs=0.1)


def test_images_of_the_training_do_not_make_radii_smaller(before):
    # Half the errors of other images, as recorded by the calibration.
    radii = again(before, 10, 3, 0.5, seen=True).radius_factor
    assert (radii >= before.radius_factor).all()
    assert np.median(radii / before.radius_factor) < 1.1
    # Errors of 1.5 on them mean sqrt(1 + 1.5 ** 2 - 0.5 ** 2) on others.
    grown = again(before, 40, 3, 1.5, seen=True).radius_factor
    assert np.median(grown / before.radius_factor) == pytest.approx(1.73, rel=0.1)


def test_scores_and_novelty_follow_a_clinic(before):
    lower = again(before, 20, 4, 1.0, score=0.6)
    held_out, _ = images(50, 5, score=0.6)
    trusted = np.asarray(before.trusted(held_out.points, held_out.score))
    assert trusted.mean() < 0.1
    trusted = np.asarray(lower.trusted(held_out.points, held_out.score))
    assert trusted.mean() > 0.95
    assert (lower.least_score < before.least_score).all()
    # Scores of images that were trained on are too high and change nothing.
    higher = again(before, 20, 4, 1.0, score=1.5, seen=True)
    np.testing.assert_allclose(higher.usual_score, before.usual_score)


def test_one_strange_image_does_not_open_the_limit(before):
    held_out, error = images(10, 6)
    points = held_out.points.copy()
    points[0] = points[0][::-1]
    strange = dataclasses.replace(held_out, points=points)
    seen = np.zeros(10, bool)
    result = recalibrated(before, strange, error, seen, "", {})
    novelty = float(np.asarray(before.novelty(points[:1], strange.score[:1]))[0])
    assert novelty > 3.0 * before.limit
    assert result.limit < 2.0 * before.limit
    assert not np.asarray(result.trusted(points[:1], strange.score[:1]))[0]


def test_protocol_and_weights_are_those_given(before):
    result = again(before, 5, 1, 1.0)
    assert (result.weights, result.protocol) == ("new", {"folder": 1})


def test_missing_points(before):
    held_out, error = images(6, 7)
    error[:, 2] = np.nan
    truth = held_out.truth.copy()
    truth[:, 2] = np.nan
    held_out = dataclasses.replace(held_out, truth=truth)
    result = recalibrated(before, held_out, error, np.zeros(6, bool), "", {})
    assert np.isfinite(result.radius_factor).all()
    assert result.usual_score[2] == before.usual_score[2]


@pytest.mark.parametrize("d", [2, 3])
def test_lengths_of_normal_vectors(d):
    fractions = (np.arange(200) + 0.5) / 200.0
    expected = stats.chi.ppf(fractions, d) / stats.chi.ppf(0.9, d)
    np.testing.assert_allclose(_lengths(d), expected, atol=2e-3)


def test_ratio_of_images_of_the_training(before):
    held_out, _ = images(300, 8, deviation=0.5)
    assert trained_ratio(before, held_out) == pytest.approx(0.5, abs=0.03)
