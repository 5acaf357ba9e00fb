"""The limit of VerSe 2020, against arithmetic in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.optimizers import MovingAverageClip
from tests.optimizers.test_normalized_gradient import apply, small_model


def expected_of(gradients, factor, momentum, average):
    """Steps of SGD with a rate of 1, from the stated rule, in float64."""
    weight, values, averages = np.zeros(2), [], []
    for gradient in np.asarray(gradients, np.float64):
        norm, limit = np.hypot(*gradient), factor * average
        if np.isfinite(norm):
            gradient = gradient * min(1.0, limit / max(norm, 1e-30))
            average = momentum * average + (1.0 - momentum) * min(norm, limit)
        weight = weight - gradient
        values.append(weight)
        averages.append(average)
    return values, averages


@pytest.mark.parametrize("settings", [{}, {"factor": 1.5, "momentum": 0.5}])
def test_spikes_are_limited_and_the_average_follows(settings):
    random = np.random.default_rng(0)
    gradients = random.normal(0.0, 4.0, (40, 2))
    gradients[[3, 17]] *= 1e4
    gradients[30] = 0.0
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer = MovingAverageClip(keras.optimizers.SGD(1.0), **settings)
    optimizer.build([weight])
    rule = {"factor": 2.0, "momentum": 0.99, **settings}
    expected, averages = expected_of(gradients, average=10.0, **rule)
    for gradient, value, average in zip(gradients, expected, averages, strict=True):
        apply(optimizer, ops.convert_to_tensor(np.float32(gradient)), weight)
        found = ops.convert_to_numpy(optimizer.average_norm)
        np.testing.assert_allclose(ops.convert_to_numpy(weight), value, rtol=1e-4)
        np.testing.assert_allclose(found, average, rtol=1e-5)
    # By hand: the spike in step 3 moves the weight by twice the average before it.
    moved = np.hypot(*(np.array(expected[3]) - expected[2]))
    np.testing.assert_allclose(moved, rule["factor"] * averages[2])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_norm_that_is_not_finite_leaves_the_average(value):
    weight = keras.Variable(np.zeros(2, "float32"))
    optimizer = MovingAverageClip(keras.optimizers.SGD(1.0))
    optimizer.build([weight])
    apply(optimizer, ops.convert_to_tensor(np.full(2, value, "float32")), weight)
    assert not np.any(np.isfinite(ops.convert_to_numpy(weight)))
    assert float(ops.convert_to_numpy(optimizer.average_norm)) == 10.0


def test_a_stored_training_has_its_average(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(16, 3)).astype("float32")
    y = (100.0 * random.normal(size=(16, 1)) ** 3).astype("float32")
    optimizer = MovingAverageClip(keras.optimizers.Adam(0.1), factor=1.5)
    whole = small_model(optimizer)
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole.fit(x, y, **options)
    whole.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.factor == 1.5
    average = float(ops.convert_to_numpy(loaded.optimizer.average_norm))
    assert average == float(ops.convert_to_numpy(optimizer.average_norm)) > 10.0
    for model in (whole, loaded):
        model.fit(x, y, **options)
    for a, b in zip(whole.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 0.0}, "`factor` must be above 0. Received: factor=0.0"),
        ({"initial_norm": -1.0}, "`initial_norm` must be above 0"),
        ({"momentum": 1.0}, "`momentum` must be at least 0 and below 1"),
        ({"clipnorm": 1.0}, "Give clipnorm to the inner optimizer"),
    ],
)
def test_arguments_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        MovingAverageClip(keras.optimizers.SGD(1.0), **settings)
