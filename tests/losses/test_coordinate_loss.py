import keras
import numpy as np
import pytest
from scipy import special

from scn_keras.losses import CoordinateLoss
from tests.gradients import gradients
from tests.loss_contract import check_loss

SIZES = {1: (31,), 2: (6, 7), 3: (3, 4, 5)}


def moments(pred, temperature):
    """Means and variances `(B, N, D)` by x, y(, z) of the softmax over pixels."""
    pixels = tuple(range(1, pred.ndim - 1))
    share = special.softmax(pred / temperature, axis=pixels)
    means, variances = [], []
    for index in reversed(
        np.meshgrid(*map(np.arange, pred.shape[1:-1]), indexing="ij")
    ):
        index = index[None, ..., None]
        mean = np.sum(share * index, axis=pixels, keepdims=True)
        means.append(mean.reshape(mean.shape[0], -1))
        variances.append(np.sum(share * (index - mean) ** 2, axis=pixels))
    return np.stack(means, -1), np.stack(variances, -1)


def formula(true, pred, sigma=1.0, weight=1.0, temperature=1.0):
    mean, variance = moments(pred, temperature)
    spread = np.sum((variance - sigma**2) ** 2, axis=-1)
    value = np.linalg.norm(mean - true, axis=-1)
    return value + weight * 8.0 / max(pred.shape[1:-1]) ** 3 * spread


def pair(rank):
    random = np.random.default_rng(0)
    true = random.uniform(0.0, np.array(SIZES[rank][::-1]) - 1.0, (2, 3, rank))
    pred = 2 * random.normal(size=(2, *SIZES[rank], 3))
    return true.astype("float32"), pred.astype("float32")


@pytest.mark.parametrize(
    ("rank", "numbers"),
    [
        (1, (2.0, 1.0, 1.0)),
        (2, (1.0, 0.0, 1.0)),
        (2, (1.5, 3.0, 0.5)),
        (3, (2.0, 1.0, 1.0)),
    ],
)
def test_is_distance_and_variance(rank, numbers):
    true, pred = pair(rank)
    check_loss(
        CoordinateLoss(*numbers), lambda t, p: formula(t, p, *numbers), true, pred
    )


def test_is_half_the_size_times_the_reference():
    # In the reference, an image goes from -1 to 1: its pixels are 2 / n apart.
    random, n, sigma = np.random.default_rng(0), 8, 1.2
    pred = random.normal(size=(1, n, n, 1))
    true = np.array([[[2.0, 6.5]]])
    mean, variance = moments(pred, 1.0)
    distance = np.linalg.norm((mean - true) * 2 / n)
    spread = np.sum((variance * 4 / n**2 - sigma**2 * 4 / n**2) ** 2)
    found = float(CoordinateLoss(sigma, 0.7)(true, pred))
    assert found == pytest.approx(n / 2 * (distance + 0.7 * spread), rel=1e-5)


@pytest.mark.parametrize("missing", [[np.nan, np.nan], [3.0, np.nan]])
def test_missing_landmarks_have_neither_value_nor_gradient(missing):
    true, pred = pair(2)
    true[1, 2] = missing
    values = np.asarray(CoordinateLoss(reduction="none")(true, pred))
    assert values[1, 2] == 0.0 and np.all(np.isfinite(values))
    for gradient in gradients(lambda t, p: CoordinateLoss()(t, p), true, pred):
        assert np.all(np.isfinite(gradient))
    assert np.all(gradient[1, ..., 2] == 0.0)
    assert np.any(gradient[1, ..., 1] != 0.0)


def test_a_mean_that_is_right_has_a_finite_gradient():
    pred = np.zeros((1, 5, 5, 1), "float32")
    true = np.full((1, 1, 2), 2.0, "float32")
    (gradient,) = gradients(
        lambda p: CoordinateLoss(variance_weight=0.0)(true, p), pred
    )
    assert np.all(np.isfinite(gradient))


def test_heatmaps_learn_the_point_and_the_spread():
    point = np.array([[[9.3, 6.6]]], "float32")
    bias = keras.layers.Dense(20 * 24, use_bias=False)
    model = keras.Sequential(
        [keras.Input((1,)), bias, keras.layers.Reshape((20, 24, 1))]
    )
    loss = CoordinateLoss(sigma=2.0, variance_weight=30.0)
    model.compile(keras.optimizers.Adam(0.05), loss)
    points = np.repeat(point, 600, axis=0)
    model.fit(np.ones((600, 1)), points, batch_size=1, verbose=0)
    mean, variance = moments(model.predict(np.ones((1, 1)), verbose=0), 1.0)
    np.testing.assert_allclose(mean, point, atol=0.1)
    np.testing.assert_allclose(variance, 4.0, atol=0.4)


def test_points_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"2 spatial axes.*\(2, 3, 3\)"):
        CoordinateLoss()(pair(3)[0], pair(2)[1])


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0.0}, {"temperature": 0.0}, {"variance_weight": -1.0}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="`sigma` and `temperature` must be positive"):
        CoordinateLoss(**wrong)
