import json

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.losses import PatchLoss
from tests.gradients import gradients
from tests.loss_contract import check_half_precision

SHAPE = (2, 3, 4, 3, 3)  # two images, three landmarks


def pair(seed=0):
    random = np.random.default_rng(seed)
    true, found = random.normal(size=(2, *SHAPE))
    true[..., 0] = random.uniform(size=SHAPE[:-1]) > 0.8
    return true.astype("float32"), found.astype("float32")


def formula(true, found, weight):
    p = 1.0 / (1.0 + np.exp(-found[..., 0].astype("float64")))
    entropy = -(true[..., 0] * np.log(p) + (1.0 - true[..., 0]) * np.log(1.0 - p))
    distance = np.abs(found[..., 1:] - true[..., 1:].astype("float64")).mean(axis=-1)
    return (distance + weight * entropy).mean(axis=(1, 2))


@pytest.mark.parametrize("weight", [0.0, 1.0, 20.0])
def test_is_distance_and_crossentropy(weight):
    true, found = pair()
    loss, expected = PatchLoss(weight), formula(true, found, weight)
    by_landmark = loss.call(*map(ops.convert_to_tensor, (true, found)))
    np.testing.assert_allclose(ops.convert_to_numpy(by_landmark), expected, rtol=1e-5)
    assert float(loss(true, found)) == pytest.approx(expected.mean(), rel=1e-5)
    mask = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]], "float32")
    mean = np.sum(mask * expected) / 4.0
    assert float(loss(true, found, mask)) == pytest.approx(mean, rel=1e-5)
    check_half_precision(loss, true, found)


def test_what_is_missing_has_no_gradient():
    true, found = pair()
    true[0, :, :, 1] = np.nan
    true[0, :, :, 1, 0] = 0.0
    mask = np.ones((2, 3), "float32")
    mask[0, 1] = 0.0
    value = float(PatchLoss()(true, found, mask))
    rest = formula(true, found, 1.0)[mask > 0.0]
    assert value == pytest.approx(rest.mean(), rel=1e-5)
    (slope,) = gradients(lambda y: PatchLoss()(true, y, mask), found)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(slope[0, :, :, 1], 0.0)
    assert np.all(slope[mask[:, None, None].repeat(3, 1).repeat(4, 2) > 0.0] != 0.0)
    # Not masked, its absence is trained and its place is not.
    (slope,) = gradients(lambda y: PatchLoss()(true, y), found)
    np.testing.assert_array_equal(slope[0, :, :, 1, 1:], 0.0)
    assert np.all(slope[0, :, :, 1, 0] > 0.0)


def test_large_logits_have_finite_losses():
    true, found = pair()
    found[..., 0] = np.where(true[..., 0] > 0.0, -200.0, 200.0)
    value = float(PatchLoss(2.0)(true, found))
    distance = np.abs(found - true)[..., 1:].mean()
    assert value == pytest.approx(distance + 400.0, rel=1e-5)


def test_serialisation():
    loss = PatchLoss(8.0, name="votes")
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert twin.get_config() == loss.get_config()
    assert twin.classification_weight == 8.0
    with pytest.raises(ValueError, match="`classification_weight`"):
        PatchLoss(-1.0)
