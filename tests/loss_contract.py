"""What every loss on heatmaps owes to those who mask with it."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from tests.gradients import gradients


def check_loss(loss, formula, y_true, y_pred):
    """Compares a loss with a formula in float64, in value and gradient, and masks it.

    Args:
        loss: The loss, with its default reduction.
        formula: Function of float64 `y_true`, `y_pred` to one value a landmark.
        y_true, y_pred: float32 arrays of two images and three landmarks.
    """
    true, pred = y_true.astype("float64"), y_pred.astype("float64")
    expected = formula(true, pred)
    found = ops.convert_to_numpy(loss.call(*map(ops.convert_to_tensor, (y_true, pred))))
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-7)
    assert float(loss(y_true, y_pred)) == pytest.approx(expected.mean(), rel=2e-5)

    weight = np.array([[1.0, 0.0, 0.5], [2.0, 1.0, 0.0]], "float32")
    mean = np.sum(weight * expected) / np.sum(weight)
    assert float(loss(y_true, y_pred, weight)) == pytest.approx(mean, rel=2e-5)

    of_true, of_pred = gradients(lambda t, p: loss(t, p, weight), y_true, y_pred)
    for array, gradient, place in ((true, of_true, 0), (pred, of_pred, 1)):
        assert np.all(np.isfinite(gradient))
        scale = float(np.abs(gradient).max())
        random = np.random.default_rng(3)
        for flat in random.choice(array.size, min(12, array.size), replace=False):
            entry = np.unravel_index(flat, array.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = [true, pred]
                moved[place] = array.copy()
                moved[place][entry] += step
                ends.append(np.sum(weight * formula(*moved)) / np.sum(weight))
            numeric = (ends[0] - ends[1]) / 2e-6
            assert gradient[entry] == pytest.approx(
                numeric, rel=2e-3, abs=2e-4 * scale
            ), entry

    check_mask(loss, y_true, y_pred)
    check_half_precision(loss, y_true, y_pred)
    check_jit(loss, y_true, y_pred)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()
    assert float(twin(y_true, y_pred)) == float(loss(y_true, y_pred))


def check_mask(loss, y_true, y_pred):
    mask = np.array([[1, 0, 1], [1, 1, 0]], "float32")
    hidden = mask.reshape(2, *[1] * (y_pred.ndim - 2), 3) == 0.0
    value = float(loss(y_true, y_pred, mask))
    other = np.where(hidden, -3.0 * y_pred, y_pred)
    assert float(loss(y_true, other, mask)) == pytest.approx(value, rel=1e-6)
    (gradient,) = gradients(lambda p: loss(y_true, p, mask), y_pred)
    gone = np.broadcast_to(hidden, y_pred.shape)
    assert np.all(gradient[gone] == 0.0)
    assert np.any(gradient != 0.0)

    nothing = np.zeros_like(mask)
    assert float(loss(y_true, y_pred, nothing)) == 0.0
    (gradient,) = gradients(lambda p: loss(y_true, p, nothing), y_pred)
    assert np.all(gradient == 0.0)


def check_half_precision(loss, y_true, y_pred):
    rounded = ops.cast(y_pred, "bfloat16")
    value = loss(y_true, rounded)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    exact = loss(y_true, ops.cast(rounded, "float32"))
    assert float(value) == pytest.approx(float(exact), rel=1e-6)


def check_jit(loss, y_true, y_pred):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(loss, jit_compile=True)
    elif keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(lambda true, pred: loss(true, pred))
    else:  # of PyTorch, it needs a C++ compiler and minutes
        return
    value = float(loss(y_true, y_pred))
    assert float(compiled(y_true, y_pred)) == pytest.approx(value, rel=1e-5)
