import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from scn_keras.losses import AdaptiveWing
from tests.gradients import gradients
from tests.loss_contract import check_loss


def formula(true, pred, alpha=2.1, omega=14.0, epsilon=1.0, theta=0.5, weight=10.0):
    """The equations of the paper, as they stand there."""
    error, power = np.abs(true - pred), alpha - true
    ratio = theta / epsilon
    slope = omega / (1 + ratio**power) * power * ratio ** (power - 1) / epsilon
    offset = theta * slope - omega * np.log(1 + ratio**power)
    value = np.where(
        error < theta,
        omega * np.log(1 + (error / epsilon) ** power),
        slope * error - offset,
    )
    pixels = tuple(range(1, true.ndim - 1))
    size = (1, *[3] * len(pixels), 1)
    dilated = scipy.ndimage.grey_dilation(true, size, mode="constant", cval=-1.0)
    return np.mean(value * (1 + weight * (dilated >= 0.2)), axis=pixels)


def pair(shape):
    random = np.random.default_rng(0)
    # Few pixels are near a landmark; errors lie on both sides of theta.
    true = random.uniform(0.0, 1.0, (2, *shape, 3)) ** 8
    return true.astype("float32"), random.normal(size=true.shape).astype("float32")


@pytest.mark.parametrize(
    ("shape", "weight"),
    [((31,), 10.0), ((6, 7), 0.0), ((6, 7), 10.0), ((4, 5, 6), 10.0)],
)
def test_is_the_papers_formula(shape, weight):
    true, pred = pair(shape)
    check_loss(
        AdaptiveWing(map_weight=weight), lambda t, p: formula(t, p, weight=weight),
        true, pred,
    )  # fmt: skip


def test_other_parameters():
    true, pred = pair((6, 7))
    numbers = (2.5, 10.0, 0.7, 0.3, 5.0)
    check_loss(AdaptiveWing(*numbers), lambda t, p: formula(t, p, *numbers), true, pred)


def test_no_error_has_no_gradient_and_no_nan():
    true = pair((6, 7))[0]
    true[0, :2] = 0.0
    for gradient in gradients(lambda t, p: AdaptiveWing()(t, p), true, true.copy()):
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_the_curve_and_its_slope_go_on_at_theta():
    loss = AdaptiveWing(map_weight=0.0)
    for true in (0.0, 0.4, 1.0):
        values = [
            float(loss(np.full((1, 2, 1), true), np.full((1, 2, 1), true + d)))
            for d in (0.498, 0.499, 0.5, 0.501, 0.502)
        ]
        steps = np.diff(values)
        np.testing.assert_allclose(steps, steps.mean(), rtol=0.01)


def test_the_map_weighs_the_neighbourhood_of_the_landmark():
    true = np.zeros((1, 5, 5, 1), "float32")
    true[0, 2, 2] = 1.0
    pred = true + np.float32(0.1) * np.eye(25, dtype="float32").reshape(25, 5, 5, 1)
    value = AdaptiveWing().call(*map(ops.convert_to_tensor, (true, pred)))
    plain = AdaptiveWing(map_weight=0.0).call(*map(ops.convert_to_tensor, (true, pred)))
    ratio = ops.convert_to_numpy(value / plain).reshape(5, 5)
    expected = np.ones((5, 5))
    expected[1:4, 1:4] = 11.0
    np.testing.assert_allclose(ratio, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"alpha": 2.0}, {"theta": 0.0}, {"omega": -1.0}, {"map_weight": -1.0}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="`alpha` must be above 2"):
        AdaptiveWing(**wrong)
