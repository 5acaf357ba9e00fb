import json

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import PatchTarget

SIZES = {1: (6,), 2: (3, 4), 3: (2, 3, 2)}


def target(points, sizes, patch_size):
    landmarks = points.shape[1]
    votes = np.zeros((len(points), *sizes, landmarks, 1 + len(sizes)), "float32")
    return ops.convert_to_numpy(PatchTarget(landmarks, patch_size)(points, votes))


def expected(points, sizes, patch_size):
    """Patch by patch, in float64."""
    landmarks, rank = points.shape[1:]
    result = np.empty((len(points), *sizes, landmarks, 1 + rank))
    for b, n, *index in np.ndindex(len(points), landmarks, *sizes):
        point = points[b, n].astype("float64")
        first = patch_size * np.array(index[::-1])
        inside = np.all((point >= first - 0.5) & (point < first + patch_size - 0.5))
        away = point - (first + (patch_size - 1) / 2.0)
        logarithm = np.sign(away) * np.log10(np.abs(away) + 1.0)
        result[(b, *index, n)] = inside, *logarithm
    return result


@pytest.mark.parametrize("rank", SIZES)
def test_patch_by_patch(rank):
    sizes, patch_size = SIZES[rank], 8
    random = np.random.default_rng(rank)
    # Some lie outside of the image.
    high = 1.3 * patch_size * np.array(sizes[::-1])
    points = random.uniform(-5.0, high, (2, 5, rank)).astype("float32")
    found = target(points, sizes, patch_size)
    np.testing.assert_allclose(found, expected(points, sizes, patch_size), atol=1e-6)
    assert found[..., 0].sum() > 0


def test_every_place_of_the_image_is_in_one_patch():
    edge = np.array([-0.5, 0.0, 3.5, 7.49, 7.5, 15.49, 15.5, 23.49])
    points = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(1, -1, 2)
    inside = target(points.astype("float32"), (3, 3), 8)[..., 0].sum(axis=(1, 2))
    np.testing.assert_array_equal(inside, 1.0)
    outside = np.array([[[-0.51, 4.0], [4.0, 23.5]]], "float32")
    assert target(outside, (3, 3), 8)[..., 0].sum() == 0.0


def test_a_missing_landmark_is_in_no_patch_and_nowhere():
    points = np.array([[[3.0, 4.0], [np.nan, 5.0], [np.nan, np.nan]]], "float32")
    found = target(points, (2, 2), 8)
    np.testing.assert_array_equal(found[..., 1:, 0], 0.0)
    assert np.isnan(found[..., 1:, 1:]).all()
    assert np.isfinite(found[..., 0, :]).all()


def test_serialisation_and_symbolic_call():
    layer = PatchTarget(3, patch_size=4, name="target")
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert twin.get_config() == layer.get_config()
    assert (twin.num_landmarks, twin.patch_size) == (3, 4)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.height()), np.ones(3))
    votes = keras.KerasTensor((None, None, None, 3, 3), "bfloat16")
    symbolic = layer(keras.KerasTensor((None, 3, 2)), votes)
    assert symbolic.shape == (None, None, None, 3, 3)
    assert symbolic.dtype == "float32"


def test_wrong_shapes_are_refused():
    votes = np.zeros((1, 2, 2, 3, 3), "float32")
    with pytest.raises(ValueError, match=r"points of shape \(batch, 3, 2\)"):
        PatchTarget(3, 8)(np.zeros((1, 4, 2), "float32"), votes)
    with pytest.raises(ValueError, match="expects votes of shape"):
        PatchTarget(3, 8)(np.zeros((1, 3, 2), "float32"), votes[..., :2])
