"""Nesterov momentum of TensorFlow 1, against its formula in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.optimizers import NesterovMomentum
from tests.optimizers.test_normalized_gradient import apply, small_model

GRADIENTS = np.random.default_rng(0).normal(size=(12, 2))


def expected_of(rates, momentum):
    weight, accumulator, values = np.zeros(2), np.zeros(2), []
    for gradient, rate in zip(GRADIENTS, rates, strict=True):
        accumulator = momentum * accumulator + gradient
        weight = weight - (gradient * rate + accumulator * momentum * rate)
        values.append(weight)
    return values


def steps_of(optimizer):
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer.build([weight])
    values = []
    for gradient in GRADIENTS:
        apply(optimizer, ops.convert_to_tensor(np.float32(gradient)), weight)
        values.append(ops.convert_to_numpy(weight))
    return values


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99])
def test_steps_with_a_rate_that_changes(momentum):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [3, 7], [0.5, 0.25, 0.05]
    )
    # A rate is used up to and including its boundary, as in TensorFlow 1.
    rates = [0.5] * 4 + [0.25] * 4 + [0.05] * 4
    found = steps_of(NesterovMomentum(schedule, momentum=momentum))
    np.testing.assert_allclose(found, expected_of(rates, momentum), rtol=1e-4)
    if momentum:
        others = keras.optimizers.SGD(schedule, momentum=momentum, nesterov=True)
        assert np.abs(steps_of(others)[-1] - found[-1]).max() > 0.05


def test_equal_to_keras_with_a_constant_rate():
    keras_steps = steps_of(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True))
    np.testing.assert_allclose(
        steps_of(NesterovMomentum(0.1, momentum=0.9)), keras_steps, rtol=1e-4
    )


def test_the_norm_is_limited_before_the_momentum():
    optimizer = NesterovMomentum(1.0, momentum=0.5, global_clipnorm=1.0)
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer.build([weight])
    apply(optimizer, ops.convert_to_tensor(np.float32([30.0, 40.0])), weight)
    np.testing.assert_allclose(ops.convert_to_numpy(weight), [-0.9, -1.2], rtol=1e-6)


def test_a_stored_training_continues(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 3)).astype("float32")
    y = random.normal(size=(16, 1)).astype("float32")
    whole = small_model(NesterovMomentum(0.01, momentum=0.9))
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole.fit(x, y, **options)
    whole.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.momentum == 0.9
    for model in (whole, loaded):
        model.fit(x, y, **options)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_out_of_its_range(momentum):
    with pytest.raises(ValueError, match="at least 0 and below 1. Received: momentum="):
        NesterovMomentum(momentum=momentum)
