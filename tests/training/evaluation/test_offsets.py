"""Constant offsets between the points of a model and those of a clinic."""

import re

import numpy as np
import pytest
import scipy.stats

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.offsets import (
    direction,
    offset_statistics,
    real_offsets,
)
from scn_keras.training.evaluation.result_table import offsets
from scn_keras.training.report.offset_figure import offset_figure, offset_picture

NAMES = tuple("abcdefg")
SHAPE = np.random.default_rng(5).uniform(0, 100, (7, 2))


def turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def population(planted, images=60, noise=1.0, tilt=0.0, seed=0, size=0.0):
    """Predicted and true points; offsets turn and grow with the anatomy."""
    random = np.random.default_rng(seed)
    predicted, truth = [], []
    for _ in range(images):
        place = np.exp(random.normal(0, size)) * turned(random.normal(0, tilt))
        points = SHAPE @ place.T + random.uniform(-20, 20, 2)
        predicted.append(points)
        truth.append(points + planted @ place.T + random.normal(0, noise, SHAPE.shape))
    return np.array(predicted), np.array(truth)


def planted(**by_name):
    offsets = np.zeros((7, 2))
    for name, vector in by_name.items():
        offsets[NAMES.index(name)] = vector
    return offsets


def test_planted_offsets_are_found_and_only_these():
    predicted, truth = population(planted(b=[0.0, 4.3], e=[-2.0, 0.0]))
    found = offset_statistics(predicted, truth, NAMES)
    assert [row["name"] for row in real_offsets(found)] == ["b", "e"]
    b = found["per_landmark"][1]
    np.testing.assert_allclose(b["offset_mm"], [0.0, 4.3], atol=0.4)
    assert b["n"] == 60
    for (low, high), value in zip(b["ci95_mm"], [0.0, 4.3], strict=True):
        assert low < value < high and high - low < 0.7
    # Rayleigh: the mean distance of two normal deviates is sigma times sqrt(pi / 2).
    assert found["mre_without_mm"] == pytest.approx(np.sqrt(np.pi / 2), rel=0.05)
    assert b["mre_without_mm"] == pytest.approx(np.sqrt(np.pi / 2), rel=0.15)


def test_offsets_turn_and_grow_with_the_anatomy():
    predicted, truth = population(
        planted(c=[5.0, 0.0]), noise=0.01, tilt=1.0, size=0.3, images=200
    )
    # In the axes of the images the vectors nearly cancel.
    naive = np.linalg.norm((truth - predicted)[:, 2].mean(0))
    (row,) = real_offsets(offset_statistics(predicted, truth, NAMES))
    assert naive < 4.0 and row["name"] == "c"
    assert row["length_mm"] == pytest.approx(5.0, rel=0.05)
    assert row["mre_without_mm"] < 0.2


def test_statistic_is_that_of_hotelling():
    predicted, truth = population(planted(a=[0.35, 0.1]), images=40, seed=3)
    one = np.full_like(truth, np.nan)
    one[:, 0] = truth[:, 0]  # one landmark, so that p is not increased by others
    row = offset_statistics(predicted, one, NAMES, resamples=20_000)["per_landmark"][0]
    vectors = (truth - predicted)[:, 0]
    mean, covariance = vectors.mean(0), np.cov(vectors.T)
    squared = 40 * mean @ np.linalg.inv(covariance) @ mean
    expected = scipy.stats.f.sf(squared * (40 - 2) / (2 * 39), 2, 38)
    assert 0.005 < expected < 0.4
    assert row["p"] == pytest.approx(expected, abs=0.02)


def test_few_evaluations_name_a_landmark_without_any_offset():
    named = sum(
        bool(
            real_offsets(
                offset_statistics(
                    *population(planted(), 20, seed=n), NAMES, resamples=200
                )
            )
        )
        for n in range(200)
    )
    # Binomial(200, 0.05): 20 or more have a probability of 0.3 %.
    assert 1 <= named < 20


def test_images_of_one_patient_are_no_evidence():
    predicted, truth = population(planted(), images=4)
    truth[0] += [0.0, 3.0]
    copies = np.repeat(predicted, 25, axis=0), np.repeat(truth, 25, axis=0)
    groups = [f"p{n // 25}" for n in range(100)]
    assert real_offsets(offset_statistics(*copies, NAMES, groups)) == []


def test_missing_points_and_few_patients():
    predicted, truth = population(planted(b=[0.0, 4.0]))
    truth[:40, 1] = np.nan
    truth[:, 3] = np.nan
    truth[2:, 4] = np.nan
    found = offset_statistics(predicted, truth, NAMES)["per_landmark"]
    assert [row["n"] for row in found[1:5]] == [20, 60, 0, 2]
    assert found[1]["p"] < 0.05
    for row in found[3:5]:
        assert row["offset_mm"] is row["p"] is row["ci95_mm"] is None
    assert found[3]["mre_without_mm"] is None


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_landmarks_have_the_axes_of_the_image(count):
    random = np.random.default_rng(0)
    predicted = random.uniform(0, 100, (30, count, 2))
    truth = predicted + [3.0, 0.0] + random.normal(0, 0.1, predicted.shape)
    found = offset_statistics(predicted, truth, NAMES[:count], unit="px")
    for row in found["per_landmark"]:
        np.testing.assert_allclose(row["offset_px"], [3.0, 0.0], atol=0.1)


def test_volumes():
    random = np.random.default_rng(1)
    shape = random.uniform(0, 50, (6, 3))
    predicted = shape + random.normal(0, 0.5, (30, 6, 3))
    truth = predicted + random.normal(0, 0.5, predicted.shape)
    truth[:, 2] += [0.0, 0.0, 2.0]
    (row,) = real_offsets(offset_statistics(predicted, truth, NAMES[:6]))
    assert row["name"] == "c" and direction(row["offset_mm"]) == "higher"


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_points_at_one_place(spread):
    random = np.random.default_rng(0)
    predicted = 5.0 + random.normal(0, spread, (20, 7, 2))
    truth = SHAPE + random.normal(0, 1.0, predicted.shape)
    found = offset_statistics(predicted, truth, NAMES)
    assert all(np.isfinite(row["offset_mm"]).all() for row in found["per_landmark"])


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        ([4.0, 0.5], "to the right"),
        ([0.5, -4.0], "higher"),
        ([3.0, 3.0], "lower and to the right"),
        ([0.0, 5.0, 0.0], "further to the back"),
        ([-3.0, 0.0, -3.0], "lower and to the patient's right"),
    ],
)
def test_directions(offset, words):
    assert direction(offset) == words


def result_of(predicted, truth, names=NAMES):
    return {
        "protocol": {"split": "test", "truth": "junior", "unit": "mm", "n_images": 60},
        "mre_mm": 2.0,
        "offsets": offset_statistics(predicted, truth, names),
    }


def test_a_sentence_names_the_largest_offsets():
    result = result_of(*population(planted(b=[0.0, 4.3], e=[-20.0, 0.0]), noise=0.1))
    text = offsets(result)
    assert text.startswith("test against junior: 2 of 7 landmarks are marked elsewhere")
    assert re.search(
        r"places them: e (19.9|20.0)\d mm to the left; b 4.[23]\d mm lower\. ", text
    )
    assert text.endswith(" mm instead of 2.000.")
    assert offsets(result_of(*population(planted()))) == ""
    del result["offsets"]
    assert offsets(result) == ""
    assert offset_picture(result, LandmarkSchema(NAMES)) == ""


def test_arrows_are_drawn_to_scale():
    result = result_of(*population(planted(b=[0.0, 4.0]), noise=0.1))
    schema = LandmarkSchema(NAMES, links=((0, 1),))
    drawing, scale = offset_figure(result["offsets"], schema)
    # The extent is about 130 mm: 5 times 4 mm is the longest arrow within a fifth.
    extent = np.linalg.norm(np.ptp(np.array(result["offsets"]["shape_mm"]), axis=0))
    assert scale == max(m for m in (1, 2, 5, 10) if m * 4.0 < 0.2 * extent)
    (axes,) = drawing.axes
    arrows = [text for text in axes.texts if text.arrow_patch is not None]
    assert len(arrows) == 7 and axes.yaxis_inverted()
    arrow = np.subtract(arrows[1].xy, arrows[1].xyann)
    np.testing.assert_allclose(arrow, [0.0, 4.0 * scale], atol=0.3)
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["b"]
    picture = offset_picture(result, schema)
    assert f"{scale} times as long" in picture and "1 of 7 landmarks" in picture


def test_volumes_are_drawn_from_two_sides():
    random = np.random.default_rng(1)
    predicted = random.uniform(0, 50, (6, 3)) + random.normal(0, 0.5, (30, 6, 3))
    truth = predicted + random.normal(0, 0.5, predicted.shape)
    found = offset_statistics(predicted, truth, NAMES[:6])
    drawing, _ = offset_figure(found, LandmarkSchema(NAMES[:6]))
    assert [axes.yaxis_inverted() for axes in drawing.axes] == [False, False]
