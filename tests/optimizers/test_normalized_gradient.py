"""Gradients of norm 1, against arithmetic by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.optimizers import NormalizedGradient


def apply(optimizer, gradient, weight):
    if keras.backend.backend() != "jax":
        optimizer.apply([gradient], [weight])
        return
    # As in `fit`.
    values = [variable.value for variable in optimizer.variables]
    new, values = optimizer.stateless_apply(values, [gradient], [weight.value])
    weight.assign(new[0])
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)


def stepped(gradients):
    """The values of a weight after each gradient, from 0, by SGD with a rate of 1."""
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer = NormalizedGradient(keras.optimizers.SGD(1.0))
    optimizer.build([weight])
    values = []
    for gradient in gradients:
        gradient = ops.convert_to_tensor(np.array(gradient, "float32"))
        apply(optimizer, gradient, weight)
        values.append(ops.convert_to_numpy(weight).tolist())
    return values, optimizer


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_every_gradient_has_the_norm_1(scale):
    gradients = scale * np.array([[3, 4], [-8, 6], [0, 1e-3]])
    values, optimizer = stepped(gradients)
    expected = [[-0.6, -0.8], [0.2, -1.4], [0.2, -2.4]]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 3


def test_adam_moves_no_farther_after_a_spike():
    usual, spike = [[1.0, 1.0]] * 200, [[1e4, 1e4]]

    def farthest(inner, wrapped):
        optimizer = NormalizedGradient(inner) if wrapped else inner
        weight = keras.Variable(np.zeros(2, "float32"))
        optimizer.build([weight])
        rng, values = np.random.default_rng(0), []
        for gradient in [*usual, *spike, *[[0.0, 0.0]] * 30]:
            sign = rng.choice([-1.0, 1.0])
            gradient = ops.convert_to_tensor(np.float32(gradient) * sign)
            apply(optimizer, gradient, weight)
            values.append(float(ops.convert_to_numpy(weight)[0]))
        return np.abs(np.array(values[200:]) - values[199]).max()

    # By hand: (1 - b1) / sqrt(1 - b2) = 3.16 in the step of the spike and, with the sum
    # 9.6 of 0.9 ** k over its momentum, 30.4; the correction of the bias of v after 201
    # steps is sqrt(1 - 0.999 ** 201) = 0.427, so 13 times the rate.
    assert 11.0 < farthest(keras.optimizers.Adam(1.0), False) < 15.0
    assert farthest(keras.optimizers.Adam(1.0), True) < 2.0


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
def test_a_gradient_without_a_direction_is_passed_on(value):
    values, _ = stepped([[3, 4], [value, value]])
    np.testing.assert_array_equal(values[1], np.array(values[0]) - value)


def test_missing_gradients_and_the_norm_over_all_weights():
    weights = [keras.Variable(np.zeros(1, "float32")) for _ in range(3)]
    optimizer = NormalizedGradient(keras.optimizers.SGD(1.0))
    optimizer.build(weights)
    gradients = [ops.convert_to_tensor(np.float32([v])) for v in (3.0, 4.0)]
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([gradients[0], None, gradients[1]], weights)
    found = [float(ops.convert_to_numpy(w)[0]) for w in weights]
    np.testing.assert_allclose(found, [-0.6, 0.0, -0.8], rtol=1e-6)


def small_model(optimizer):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def test_a_stored_training_continues_as_an_uninterrupted_one(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 3)).astype("float32")
    y = (100 * rng.normal(size=(16, 1)) ** 3).astype("float32")

    def optimizer():
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 16)
        return NormalizedGradient(keras.optimizers.Adam(schedule))

    def fit(model, epochs):
        model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)

    whole = small_model(optimizer())
    fit(whole, 1)
    whole.save(tmp_path / "m.keras")
    fit(whole, 1)
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert int(ops.convert_to_numpy(loaded.optimizer.iterations)) == 4
    fit(loaded, 1)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rate_and_schedule_are_those_of_the_inner_optimizer():
    optimizer = NormalizedGradient(keras.optimizers.Adam(0.25))
    small_model(optimizer)
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == 0.25
    optimizer.learning_rate = 0.125
    assert float(ops.convert_to_numpy(optimizer.inner_optimizer.learning_rate)) == 0.125


def test_arguments_that_are_not_its_own():
    with pytest.raises(ValueError, match="Give global_clipnorm to the inner optimizer"):
        NormalizedGradient(keras.optimizers.SGD(1.0), global_clipnorm=3.0)
    with pytest.raises(ValueError, match="inner_optimizer='adam'"):
        NormalizedGradient("adam")
