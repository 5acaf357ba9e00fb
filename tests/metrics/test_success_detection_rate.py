import keras
import numpy as np
import pytest

from scn_keras.metrics import SuccessDetectionRate

TRUE = np.zeros((2, 3, 2), "float32")
# Distances 0, 1.5, 2 and 2.5, 5, 1.9375.
FOUND = np.array(
    [[[0, 0], [1.5, 0], [0, 2]], [[2.5, 0], [3, 4], [0, 1.9375]]], "float32"
)


def result(radius, *updates):
    metric = SuccessDetectionRate(radius)
    for update in updates:
        metric.update_state(*update)
    return float(metric.result())


@pytest.mark.parametrize(
    ("radius", "hits"), [(1, 1), (2, 3), (2.0001, 4), (2.5, 4), (5, 5), (6, 6)]
)
def test_share_below_the_radius_the_radius_excluded(radius, hits):
    assert result(radius, (TRUE, FOUND)) == pytest.approx(hits / 6)
    halves = (TRUE[:1], FOUND[:1]), (TRUE[1:], FOUND[1:])
    assert result(radius, *halves) == pytest.approx(hits / 6)


def test_missing_landmarks_do_not_count():
    true, found = TRUE.copy(), FOUND.copy()
    true[0, 0] = np.nan
    found[1, 1, 0] = np.nan
    assert result(2.0, (true, found)) == pytest.approx(2 / 4)
    assert np.isnan(result(2.0, (np.full_like(TRUE, np.nan), FOUND)))


def test_weights_by_image_and_by_landmark():
    assert result(2.0, (TRUE, FOUND, [1.0, 3.0])) == pytest.approx((2 + 3) / 12)
    weight = [[1.0, 0.0, 2.0], [0.0, 0.5, 0.25]]
    assert result(2.0, (TRUE, FOUND, weight)) == pytest.approx((1 + 0.25) / 3.75)


def test_names():
    assert SuccessDetectionRate(2).name == "sdr_2"
    assert SuccessDetectionRate(2.5).name == "sdr_2_5"
    assert SuccessDetectionRate(10.0).name == "sdr_10"
    assert SuccessDetectionRate(2, name="good").name == "good"


def test_reset_and_configuration():
    metric = SuccessDetectionRate(2.5)
    metric.update_state(TRUE, FOUND)
    assert float(metric.result()) > 0.0
    metric.reset_state()
    assert np.isnan(float(metric.result()))
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(twin) is SuccessDetectionRate
    assert twin.get_config() == metric.get_config()
    assert (twin.radius, twin.name) == (2.5, "sdr_2_5")


@pytest.mark.parametrize("radius", [0, -1.0, float("nan")])
def test_wrong_radius_is_refused(radius):
    with pytest.raises(ValueError, match="`radius` must be positive"):
        SuccessDetectionRate(radius)
