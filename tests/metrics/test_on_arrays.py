"""Both forms of every metric, against NumPy, SciPy and each other."""

import keras
import numpy as np
import pytest
from scipy.spatial import KDTree

from scn_keras import metrics
from scn_keras.metrics import on_arrays

NAN = np.nan


def clouds(images=7, landmarks=5, rank=2, missing=0.2):
    """True and found points, each with missing ones of its own, in mm."""
    random = np.random.default_rng(rank)
    true = random.uniform(0.0, 60.0, (images, landmarks, rank))
    found = true + random.normal(0.0, 6.0, true.shape)
    for points in (true, found):
        points[random.random(points.shape[:2]) < missing] = NAN
    true[2] = NAN  # an image without any landmark
    return true, found


def in_batches(metric, true, found):
    """The Keras metric, in batches of unlike size."""
    for part in (slice(0, 3), slice(3, 4), slice(4, None)):
        metric.update_state(true[part], found[part])
    return float(metric.result())


TRUE, FOUND = clouds()
DISTANCES = on_arrays.point_distances(TRUE, FOUND)


@pytest.mark.parametrize("landmark", [None, 3])
@pytest.mark.parametrize(
    ("kind", "arguments", "function"),
    [
        ("PointError", {}, on_arrays.point_error),
        ("PointErrorDeviation", {}, on_arrays.point_error_deviation),
        (
            "SuccessDetectionRate",
            {"radius": 6.0},
            lambda d, axis: on_arrays.success_detection_rate(d, 6.0, axis=axis),
        ),
        (
            "OutlierCount",
            {"radius": 6.0},
            lambda d, axis: on_arrays.outlier_count(d, 6.0, axis=axis),
        ),
        (
            "IdentificationRate",
            {"radius": 10.0},
            lambda _, axis: on_arrays.identification_rate(TRUE, FOUND, 10.0, axis),
        ),
        (
            "PresencePrecision",
            {},
            lambda _, axis: on_arrays.presence_precision(TRUE, FOUND, axis),
        ),
        (
            "PresenceRecall",
            {},
            lambda _, axis: on_arrays.presence_recall(TRUE, FOUND, axis),
        ),
    ],
)
def test_both_forms_agree_over_all_and_by_landmark(kind, arguments, function, landmark):
    metric = getattr(metrics, kind)(**arguments, landmark=landmark)
    found = in_batches(metric, TRUE, FOUND)
    if landmark is None:
        expected = function(DISTANCES, axis=None)
    else:
        expected = function(DISTANCES, axis=0)[landmark]
        assert metric.name.endswith(f"_{landmark}")
    assert found == pytest.approx(expected, rel=1e-5)
    assert 0.0 < found != 1.0
    metric.reset_state()
    # A count of nothing is 0, a mean of nothing is none.
    nothing = float(metric.result())
    assert nothing == 0.0 if kind == "OutlierCount" else np.isnan(nothing)
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(twin) is type(metric)
    assert twin.get_config() == metric.get_config()
    assert in_batches(twin, TRUE, FOUND) == found


def test_distances_are_numpys():
    expected = np.linalg.norm(FOUND - TRUE, axis=-1)
    np.testing.assert_allclose(DISTANCES, expected, rtol=1e-12)
    assert np.isnan(DISTANCES).any() and DISTANCES.dtype == np.float64
    for axis in (None, 0):
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(
                on_arrays.point_error(DISTANCES, axis), np.nanmean(expected, axis)
            )
            np.testing.assert_allclose(
                on_arrays.point_error_deviation(DISTANCES, axis),
                np.nanstd(expected, axis),
            )
        np.testing.assert_allclose(
            on_arrays.point_error_percentile(DISTANCES, 90.0, axis),
            np.nanpercentile(expected, 90.0, axis),
        )


def test_what_never_counts_is_not_a_number_by_landmark():
    distances = np.array([[1.0, NAN], [3.0, NAN]])
    for function in (
        on_arrays.point_error,
        on_arrays.point_error_deviation,
        lambda d, axis: on_arrays.point_error_percentile(d, 50.0, axis),
        lambda d, axis: on_arrays.success_detection_rate(d, 4.0, axis=axis),
    ):
        first, second = function(distances, axis=0)
        assert first >= 1.0 and np.isnan(second)
    assert on_arrays.outlier_count(distances, 2.0, axis=0).tolist() == [1, 0]


def test_strict_and_inclusive():
    distances = np.array([[1.0, 2.0, 3.0, NAN]])
    true, found = np.zeros((1, 4, 1)), distances[..., None]
    for inclusive, hits in ((False, 1), (True, 2)):
        rate = on_arrays.success_detection_rate(distances, 2.0, inclusive)
        assert rate == pytest.approx(hits / 3)
        metric = metrics.SuccessDetectionRate(2.0, inclusive=inclusive)
        assert in_batches(metric, true, found) == pytest.approx(hits / 3)
    # An outlier is what is not strictly within.
    assert on_arrays.outlier_count(distances, 2.0) == 2
    assert in_batches(metrics.OutlierCount(2.0), true, found) == 2.0


@pytest.mark.parametrize("rank", [2, 3])
def test_identification_by_a_search_tree(rank):
    true, found = clouds(rank=rank)
    expected = []
    for there, here in zip(true, found, strict=True):
        known = np.flatnonzero(~np.isnan(there).any(axis=-1))
        for landmark in known:
            point = here[landmark]
            if np.isnan(point).any():
                expected.append(False)
                continue
            distance, nearest = KDTree(there[known]).query(point)
            expected.append(known[nearest] == landmark and distance <= 9.0)
    assert 0.0 < np.mean(expected) < 1.0
    rate = on_arrays.identification_rate(true, found, 9.0)
    assert rate == pytest.approx(np.mean(expected))
    metric = metrics.IdentificationRate(9.0)
    assert in_batches(metric, true, found) == pytest.approx(np.mean(expected))


def test_presence_by_hand():
    # 10 landmarks: 4 there and found, 1 there and lost, 3 gone and found, 2 neither.
    there = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0], bool).reshape(2, 5)
    said = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0], bool).reshape(2, 5)
    true, found = (np.where(x[..., None], np.ones(2), NAN) for x in (there, said))
    found[0, 0, 1] = 1e3  # where does not matter
    assert on_arrays.presence_precision(true, found) == pytest.approx(4 / 7)
    assert on_arrays.presence_recall(true, found) == pytest.approx(4 / 5)
    by_landmark = on_arrays.presence_recall(true, found, axis=0)
    np.testing.assert_array_equal(by_landmark, [1.0, 1.0, 1.0, 1.0, 0.0])
    by_landmark = on_arrays.presence_precision(true, found, axis=0)
    np.testing.assert_array_equal(by_landmark, [0.5, 0.5, 0.5, 1.0, NAN])


def test_unlike_shapes_are_refused():
    for function in (
        on_arrays.point_distances,
        on_arrays.identification_rate,
        on_arrays.presence_recall,
    ):
        with pytest.raises(
            ValueError, match=r"true.shape=\(2, 3, 2\), found.shape=\(2, 4, 2\)"
        ):
            function(np.zeros((2, 3, 2)), np.zeros((2, 4, 2)))
    with pytest.raises(ValueError, match="one shape"):
        metrics.PresenceRecall().update_state(np.zeros((2, 3)), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("PointError", {"landmark": -1}, "`landmark` must be the index"),
        ("PointErrorPercentile", {"percentile": 0.0}, "percentile=0.0"),
        ("PointErrorPercentile", {"limit": -1.0}, "limit=-1.0"),
        ("OutlierCount", {"radius": 0.0}, "`radius` must be positive"),
        ("IdentificationRate", {"radius": 0.0}, "`radius` must be positive"),
        ("ImagePointError", {"divide_by": "some"}, "`divide_by`.*'some'"),
    ],
)
def test_wrong_arguments_are_refused(kind, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(metrics, kind)(**arguments)


def test_a_landmark_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="number of landmarks, 5.*landmark=5"):
        metrics.PointError(landmark=5).update_state(TRUE, FOUND)
