import json

import numpy as np
import pytest
import scipy.stats

from scn_keras.training.evaluation.statistics import (
    COMPARED_RADII,
    HEADLINE_RADIUS,
    RADII,
    SHOWN_RADII,
    error_statistics,
    resample_groups,
)

NAN = np.nan


def test_numbers_by_hand():
    distances = np.array([[0.5, 2.0, NAN], [1.0, 4.0, NAN], [2.5, 10.0, NAN]])
    result = error_statistics(distances, ("a", "b", "c"))
    assert result["n_images"] == 3
    assert result["n_points"] == 6
    assert result["mre_mm"] == pytest.approx(20.0 / 6.0)
    # Squares: 0.25 + 4 + 1 + 16 + 6.25 + 100 = 127.5.
    assert result["sd_mm"] == pytest.approx(np.sqrt(127.5 / 6 - (20 / 6) ** 2))
    assert result["median_mm"] == 2.25
    # Strictly less: 2.0 is not within 2, 4.0 not within 4, 10.0 an outlier of 10.
    hits = {"1": 1, "2": 2, "2.5": 3, "3": 4, "4": 4, "10": 5}
    assert result["sdr_percent"] == pytest.approx(
        {radius: 100.0 * count / 6 for radius, count in hits.items()}
    )
    assert result["outliers"] == {radius: 6 - count for radius, count in hits.items()}
    assert result["per_landmark"][1] == {
        "name": "b",
        "n": 3,
        "mre_mm": pytest.approx(16 / 3),
        "sd_mm": pytest.approx(np.sqrt((4 + 16 + 100) / 3 - (16 / 3) ** 2)),
        "median_mm": 4.0,
        "sdr_percent": pytest.approx(
            {"1": 0, "2": 0, "2.5": 100 / 3, "3": 100 / 3, "4": 100 / 3, "10": 200 / 3}
        ),
    }
    always_missing = result["per_landmark"][2]
    assert always_missing["n"] == 0
    assert always_missing["mre_mm"] is None
    assert always_missing["sdr_percent"]["2"] is None


def test_an_image_without_any_distance_does_not_count():
    distances = np.array([[1.0, 3.0], [NAN, NAN], [2.0, NAN]])
    result = error_statistics(distances, ("a", "b"))
    assert result["n_images"] == 2
    assert result["n_points"] == 3
    assert result["mre_mm"] == 2.0
    assert result["ci95"]["groups"] == 2


def test_percentiles():
    distances = np.arange(101.0).reshape(101, 1)
    result = error_statistics(distances, ("a",), resamples=10)
    assert result["percentiles_mm"] == {
        "p50": 50.0,
        "p75": 75.0,
        "p90": 90.0,
        "p95": 95.0,
        "p99": 99.0,
    }


def test_interval_agrees_with_scipy():
    distances = np.random.default_rng(1).gamma(1.5, 1.0, (60, 1))
    result = error_statistics(distances, ("a",), resamples=20_000)
    expected = scipy.stats.bootstrap(
        (distances[:, 0],),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert result["ci95"]["mre_mm"] == pytest.approx(expected, abs=0.01)
    expected = scipy.stats.bootstrap(
        (distances[:, 0],),
        lambda x, axis: 100.0 * (x < 2.0).mean(axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    # Rates of 60 points come in steps of 1.7 %.
    assert result["ci95"]["sdr_percent"]["2"] == pytest.approx(expected, abs=1.7)


def test_interval_is_over_groups_of_unlike_size():
    # Two images of one patient are drawn together, and weigh two points to one.
    distances = np.array([[0.0], [0.0], [3.0]])
    result = error_statistics(distances, ("a",), groups=("p", "p", "q"))
    # Of two groups: p twice, q twice, or both, a half of the time: (0 + 0 + 3) / 3.
    assert result["ci95"]["mre_mm"] == [0.0, 3.0]
    assert result["ci95"]["groups"] == 2
    by_image = error_statistics(distances, ("a",))
    assert by_image["ci95"]["groups"] == 3

    rng = np.random.default_rng(0)
    patients = np.repeat(rng.gamma(2.0, 1.0, 40), 5)[:, None]
    groups = [str(row // 5) for row in range(200)]
    low, high = error_statistics(patients, ("a",), groups)["ci95"]["mre_mm"]
    low_image, high_image = error_statistics(patients, ("a",))["ci95"]["mre_mm"]
    # Five equal images of each patient say no more than one: sqrt(5) as wide.
    assert (high - low) / (high_image - low_image) == pytest.approx(np.sqrt(5), rel=0.1)


def test_interval_is_seeded():
    distances = np.random.default_rng(1).gamma(1.5, 1.0, (20, 3))
    names = ("a", "b", "c")
    first, again = (error_statistics(distances, names, seed=3) for _ in range(2))
    assert first == again
    assert first["ci95"] != error_statistics(distances, names, seed=4)["ci95"]


def test_groups_are_drawn_with_replacement():
    groups = ["q", "p", "q", "r", "p", "q"]
    group, counts = resample_groups(groups, 20_000, seed=1)
    # Every image has the index of its group, and every resample as many groups.
    names = {index: groups[row] for row, index in enumerate(group)}
    assert [names[index] for index in group] == groups
    assert counts.shape == (20_000, 3)
    assert (counts.sum(axis=1) == 3).all()
    # Three draws of one in three: (2/3)^3 = 30 % without a group, 1/27 with it alone.
    np.testing.assert_allclose((counts == 0).mean(axis=0), 8 / 27, atol=0.01)
    np.testing.assert_allclose((counts == 3).mean(axis=0), 1 / 27, atol=0.005)
    np.testing.assert_array_equal(counts, resample_groups(groups, 20_000, seed=1)[1])
    assert (counts != resample_groups(groups, 20_000, seed=2)[1]).any()


def test_all_radii_have_results():
    for unit, radii in RADII.items():
        shown = {*SHOWN_RADII[unit], *COMPARED_RADII[unit], HEADLINE_RADIUS[unit]}
        assert shown <= {*radii}


def test_one_patient_has_no_interval():
    result = error_statistics(np.ones((2, 1)), ("a",), groups=("p", "p"))
    assert result["ci95"]["mre_mm"] is None
    assert result["ci95"]["sdr_percent"]["2"] is None


def test_result_is_json():
    distances = np.array([[1.0, NAN]], np.float32)
    result = error_statistics(distances, ("a", "b"))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    ("distances", "groups", "message"),
    [
        (np.full((2, 1), NAN), None, r"Received: only NaN, shape=\(2, 1\)"),
        (np.zeros((2, 2)), None, r"Received: shape=\(2, 2\)"),
        (np.zeros(2), None, r"Received: shape=\(2,\)"),
        (np.zeros((2, 1)), ("p",), "1 groups for 2 images"),
    ],
)
def test_errors(distances, groups, message):
    with pytest.raises(ValueError, match=message):
        error_statistics(distances, ("a",), groups)
