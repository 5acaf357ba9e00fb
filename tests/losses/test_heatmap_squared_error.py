import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.losses import HeatmapSquaredError
from tests.gradients import gradients


def pair(shape):
    random = np.random.default_rng(0)
    return random.normal(size=(2, *shape)).astype("float32")


def test_values_by_hand():
    true = np.zeros((2, 1, 2, 2), "float32")
    pred = np.array([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]], "float32")
    # Squares of the four landmarks: 1 + 9, 4 + 16, 25 + 49, 36 + 64, of 2 pixels each.
    value = float(HeatmapSquaredError("sum")(true, pred))
    assert value == pytest.approx(0.5 * (30 + 174) / 2)
    value = float(HeatmapSquaredError("mean")(true, pred))
    assert value == pytest.approx((30 + 174) / 8)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(HeatmapSquaredError("mean").call(true, pred)),
        [[5.0, 10.0], [37.0, 50.0]],
    )
    mask = np.array([[1, 0], [1, 1]], "float32")
    value = float(HeatmapSquaredError("sum")(true, pred, mask))
    assert value == pytest.approx(0.5 * (10 + 174) / 2)
    value = float(HeatmapSquaredError("mean")(true, pred, mask))
    assert value == pytest.approx((10 + 174) / 6)


@pytest.mark.parametrize("shape", [(2, 9, 3), (2, 5, 4, 3), (1, 3, 4, 5, 1)])
def test_the_mean_form_is_the_sum_form_scaled(shape):
    true, pred = pair(shape)
    landmarks, pixels = shape[-1], np.prod(shape[1:-1])
    mean, total = (float(HeatmapSquaredError(f)(true, pred)) for f in ("mean", "sum"))
    assert mean == pytest.approx(np.mean((true - pred) ** 2), rel=1e-5)
    assert mean == pytest.approx(total * 2.0 / (landmarks * pixels), rel=1e-5)
    scale = HeatmapSquaredError("mean").penalty_scale(ops.convert_to_tensor(pred))
    assert float(scale) == pytest.approx(2.0 / (landmarks * pixels))
    assert HeatmapSquaredError("sum").penalty_scale(pred) == 1.0


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_masked_landmarks_have_neither_value_nor_gradient(form):
    shape = (2, 5, 4, 3)
    true, pred = pair(shape)
    mask = np.array([[1, 0, 1], [1, 1, 0]], "float32")
    loss = HeatmapSquaredError(form)
    other = pred + 100.0 * (1.0 - mask)[:, None, None]
    value = float(loss(true, pred, mask))
    assert float(loss(true, other, mask)) == pytest.approx(value, rel=1e-6)

    (gradient,) = gradients(lambda p: loss(true, p, mask), pred)
    share = {"mean": 2.0 / (4 * 20), "sum": 1.0 / 2}[form]
    expected = share * (pred - true) * mask[:, None, None]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_nothing_present_is_0_with_gradient_0(form):
    true, pred = pair((2, 5, 4, 3))
    mask = np.zeros((2, 3), "float32")
    loss = HeatmapSquaredError(form)
    assert float(loss(true, pred, mask)) == 0.0
    (gradient,) = gradients(lambda p: loss(true, p, mask), pred)
    np.testing.assert_array_equal(gradient, np.zeros_like(pred))


def test_bfloat16_heatmaps_are_summed_in_float32():
    true = np.zeros((1, 64, 64, 1), "float32")
    pred = ops.ones((1, 64, 64, 1), dtype="bfloat16")
    # 4096 ones: bfloat16 stops counting at 256.
    assert float(HeatmapSquaredError("sum")(true, pred)) == 2048.0


@pytest.mark.parametrize("form", ["mean", "sum"])
def test_serialisation(form):
    loss = HeatmapSquaredError(form, name="data")
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(twin) is HeatmapSquaredError
    assert (twin.form, twin.name, twin.reduction) == (form, "data", loss.reduction)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="`form`.*'median'"):
        HeatmapSquaredError("median")
