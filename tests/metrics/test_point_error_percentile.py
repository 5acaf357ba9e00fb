import keras
import numpy as np
import pytest

from scn_keras.metrics import PointErrorPercentile

DISTANCES = np.random.default_rng(0).gamma(1.5, 1.0, (40, 6))
DISTANCES[3, 1] = np.nan


def result(metric, distances, weight=None):
    for part in (slice(0, 7), slice(7, None)):
        found = distances[part, :, None]
        some = None if weight is None else weight[part]
        metric.update_state(np.zeros_like(found), found, some)
    return float(metric.result())


@pytest.mark.parametrize("percentile", [10.0, 50.0, 95.0, 99.5, 100.0])
@pytest.mark.parametrize("bins", [50, 5000])
def test_is_right_to_the_width_of_a_bin(percentile, bins):
    metric = PointErrorPercentile(percentile, limit=20.0, bins=bins)
    points = DISTANCES[~np.isnan(DISTANCES)]
    expected = np.percentile(points, percentile, method="inverted_cdf")
    assert result(metric, DISTANCES) == pytest.approx(expected, abs=20.0 / bins + 1e-6)


def test_beyond_the_limit_it_is_the_limit():
    distances = np.array([[1.0, 30.0, np.inf], [1e30, 2.0, np.nan]])
    metric = PointErrorPercentile(40.0, limit=5.0)
    assert result(metric, distances) == pytest.approx(2.0, abs=1.1e-3)
    assert result(PointErrorPercentile(50.0, limit=5.0), distances) == 5.0


def test_weights():
    weight = np.random.default_rng(1).integers(0, 3, DISTANCES.shape)
    repeated = np.repeat(DISTANCES.ravel(), weight.ravel())
    repeated = repeated[~np.isnan(repeated)]
    expected = np.percentile(repeated, 75.0, method="inverted_cdf")
    metric = PointErrorPercentile(75.0)
    assert result(metric, DISTANCES, weight) == pytest.approx(expected, abs=0.0101)


def test_names_configuration_and_nothing_counted():
    assert PointErrorPercentile().name == "point_error_p50"
    assert PointErrorPercentile(99.5, landmark=2).name == "point_error_p99_5_2"
    metric = PointErrorPercentile(90.0, 10.0, 100, landmark=1, name="p90")
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert twin.get_config() == metric.get_config()
    assert np.isnan(float(metric.result()))
