import numpy as np
import pytest
from scipy import special, stats

from scn_keras.losses import SpatialSoftmaxCrossentropy
from tests.gradients import gradients
from tests.loss_contract import check_loss


def formula(true, pred, temperature=1.0):
    """SciPy's entropy of the target plus its divergence from the softmax."""
    pixels = tuple(range(1, true.ndim - 1))
    share = special.softmax(pred / temperature, axis=pixels)
    n = true.shape[-1]
    true, share = true.reshape(2, -1, n), share.reshape(2, -1, n)
    return stats.entropy(true, axis=1) + stats.entropy(true, share, axis=1)


def pair(shape):
    random = np.random.default_rng(0)
    true = random.uniform(0.1, 5.0, (2, *shape, 3))
    return true.astype("float32"), (3 * random.normal(size=true.shape)).astype(
        "float32"
    )


@pytest.mark.parametrize(
    ("shape", "temperature"), [((31,), 1.0), ((6, 7), 0.2), ((3, 4, 5), 1.0)]
)
def test_is_the_crossentropy_with_the_softmax(shape, temperature):
    true, pred = pair(shape)
    check_loss(
        SpatialSoftmaxCrossentropy(temperature),
        lambda t, p: formula(t, p, temperature),
        true,
        pred,
    )


def test_the_height_of_targets_does_not_matter():
    true, pred = pair((6, 7))
    loss = SpatialSoftmaxCrossentropy()
    value = float(loss(true, pred))
    assert float(loss(50.0 * true, pred)) == pytest.approx(value, rel=1e-5)
    # Nor does a constant on all logits, however large.
    assert float(loss(true, pred + 1e4)) == pytest.approx(value, rel=1e-3)


def test_an_empty_target_has_neither_value_nor_gradient():
    true, pred = pair((6, 7))
    true[0, ..., 1] = 0.0
    loss = SpatialSoftmaxCrossentropy(reduction="none")
    values = np.asarray(loss(true, pred))
    assert values[0, 1] == 0.0 and np.all(np.delete(values.ravel(), 1) > 0.0)
    for gradient in gradients(
        lambda t, p: SpatialSoftmaxCrossentropy()(t, p), true, pred
    ):
        assert np.all(np.isfinite(gradient))
        assert np.all(gradient[0, ..., 1] == 0.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_wrong_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        SpatialSoftmaxCrossentropy(temperature)
