import keras
import numpy as np
import pytest

from scn_keras.metrics import PointError

TRUE = np.array([[[0, 0], [1, 1], [5, 5]], [[2, 0], [0, 0], [9, 9]]], "float32")
# Distances 5, 0, 13 and 2, 10, 1.
FOUND = np.array([[[3, 4], [1, 1], [10, 17]], [[0, 0], [6, 8], [9, 8]]], "float32")


def result(*updates):
    metric = PointError()
    for update in updates:
        metric.update_state(*update)
    return float(metric.result())


def test_is_the_mean_distance():
    assert result((TRUE, FOUND)) == pytest.approx((5 + 0 + 13 + 2 + 10 + 1) / 6)
    assert result((TRUE[:1], FOUND[:1]), (TRUE[1:], FOUND[1:])) == pytest.approx(31 / 6)


def test_3d():
    true, found = np.zeros((1, 2, 3)), np.array([[[2.0, 3.0, 6.0], [0.0, 0.0, 1.0]]])
    assert result((true, found)) == pytest.approx((7 + 1) / 2)


def test_missing_landmarks_do_not_count():
    true, found = TRUE.copy(), FOUND.copy()
    true[0, 0] = np.nan
    true[0, 1, 0] = np.nan
    found[1, 2, 1] = np.nan
    assert result((true, found)) == pytest.approx((13 + 2 + 10) / 3)
    assert np.isnan(result((np.full_like(TRUE, np.nan), FOUND)))
    assert np.isnan(result())


def test_weights_by_image_and_by_landmark():
    assert result((TRUE, FOUND, [1.0, 3.0])) == pytest.approx((18 + 3 * 13) / 12)
    weight = [[1.0, 0.0, 2.0], [0.0, 0.5, 0.0]]
    assert result((TRUE, FOUND, weight)) == pytest.approx((5 + 26 + 5) / 3.5)
    missing = TRUE.copy()
    missing[0, 2] = np.nan
    assert result((missing, FOUND, weight)) == pytest.approx((5 + 5) / 1.5)


def test_millimetres_are_not_rounded_to_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        true = np.array([[[301.3, 240.7]]], "float32")
        assert result((true, true + 0.1)) == pytest.approx(0.1 * 2**0.5, abs=1e-4)
    finally:
        keras.config.set_dtype_policy("float32")


def test_reset_name_and_configuration():
    metric = PointError()
    assert metric.name == "point_error"
    metric.update_state(TRUE, FOUND)
    metric.reset_state()
    assert np.isnan(float(metric.result()))
    metric = PointError(name="pe")
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(twin) is PointError
    assert twin.get_config() == metric.get_config()
    assert twin.name == "pe"


def test_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match=r"y_true.shape=\(2, 2, 2\).*\(2, 3, 2\)"):
        PointError().update_state(TRUE[:, :2], FOUND)
