import numpy as np
import pytest
from scipy import special

from scn_keras.losses import HeatmapBinaryCrossentropy
from tests.loss_contract import check_loss


def formula(true, chance):
    """Minus the logarithm of what the answer was given, weighed by SciPy."""
    value = -special.xlogy(true, chance) - special.xlog1py(1.0 - true, -chance)
    return np.mean(value, axis=tuple(range(1, true.ndim - 1)))


def pair(shape):
    random = np.random.default_rng(0)
    true = random.uniform(0.0, 1.0, (2, *shape, 3))
    return true.astype("float32"), (3 * random.normal(size=true.shape)).astype(
        "float32"
    )


@pytest.mark.parametrize("shape", [(31,), (6, 7), (3, 4, 5)])
def test_is_the_crossentropy(shape):
    true, logits = pair(shape)
    check_loss(
        HeatmapBinaryCrossentropy(from_logits=True),
        lambda t, z: formula(t, special.expit(z)),
        true,
        logits,
    )


def test_of_probabilities():
    true, logits = pair((6, 7))
    loss = HeatmapBinaryCrossentropy()
    chance = special.expit(logits)
    assert float(loss(true, chance)) == pytest.approx(
        formula(true, chance.astype("float64")).mean(), rel=1e-4
    )


def test_certainty_stays_finite():
    true = np.array([[[[0.0], [1.0]]]], "float32")
    sure = np.array([[[[1.0], [0.0]]]], "float32")  # and wrong
    assert float(HeatmapBinaryCrossentropy()(true, sure)) == pytest.approx(
        -np.log(1e-7), rel=0.02
    )
    logits = np.array([[[[200.0], [-200.0]]]], "float32")
    loss = HeatmapBinaryCrossentropy(from_logits=True)
    assert float(loss(true, logits)) == pytest.approx(200.0)
    assert float(loss(1.0 - true, logits)) == 0.0
