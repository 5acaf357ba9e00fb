import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import LocalAppearance
from tests.contract import check_contract, dtype_policy


def test_contract():
    arguments = {
        "num_landmarks": 3,
        "filters": 4,
        "levels": 2,
        "dropout": 0.25,
        "kernel_size": 5,
        "negative_slope": 0.2,
        "heatmap_initializer": 1e-2,
        "padding": "reflect",
    }
    image = np.random.default_rng(0).normal(size=(1, 8, 6, 2)).astype("float32")
    check_contract(LocalAppearance, arguments, image)


def test_parameters_are_those_of_the_published_network():
    layer = LocalAppearance(19)
    layer.build((None, None, None, 1))
    count = {
        name: sum(int(np.prod(w.shape)) for w in layer.weights if name in w.path)
        for name in ("stem", "contracting", "parallel", "head")
    }
    convolution = 3 * 3 * 128 * 128 + 128
    assert convolution == 147_584
    assert count == {
        "stem": 1_280,
        "contracting": 8 * convolution,
        "parallel": 4 * convolution,
        "head": 21_907,
    }
    assert layer.count_params() == 1_280 + 1_771_008 + 21_907


@pytest.mark.parametrize(
    ("rank", "channels", "parameters"),
    [
        # stem, 2 levels of 3 convolutions, head; each weights + biases
        (1, 1, (3 + 1) * 4 + 6 * (3 * 4 + 1) * 4 + (3 * 4 + 1) * 5),
        (3, 2, (27 * 2 + 1) * 4 + 6 * (27 * 4 + 1) * 4 + (27 * 4 + 1) * 5),
    ],
)
def test_other_ranks(rank, channels, parameters):
    layer = LocalAppearance(5, filters=4, levels=2)
    image = np.ones((1, *(4, 6, 2)[:rank], channels), "float32")
    assert layer(image).shape == (*image.shape[:-1], 5)
    assert layer.count_params() == parameters


def test_first_weights_are_drawn_as_in_the_reference():
    layer = LocalAppearance(19, filters=64, levels=2)
    layer.build((None, None, None, 1))
    for weight in layer.weights:
        if weight.name == "bias":
            assert np.all(weight.numpy() == 0.0)
        elif "head" not in weight.path:
            # He: variance 2 / fan-in, of a normal distribution truncated at two sigma.
            fan_in = np.prod(weight.shape[:-1])
            assert weight.numpy().std() == pytest.approx(
                np.sqrt(2.0 / fan_in), rel=0.1
            ), weight.path
        else:
            # A normal distribution cut at two sigma keeps 0.88 of it.
            assert weight.numpy().std() == pytest.approx(0.88e-4, rel=0.03)
            assert np.abs(weight.numpy()).max() <= 2e-4
    first = [w.numpy() for w in layer.weights if w.shape == (3, 3, 64, 64)]
    assert len(first) == 6
    for i in range(6):
        for j in range(i):
            assert not np.array_equal(first[i], first[j])


def test_reflection_is_for_all_convolutions_but_the_first_and_the_head():
    """On an image without variation, only they see the border."""
    layer = LocalAppearance(
        1, filters=4, levels=1, padding="reflect", heatmap_initializer=1.0
    )
    layer.build((None, None, 1))
    image = np.ones((1, 16, 1), "float32")
    y = ops.convert_to_numpy(layer(image))[0, :, 0]
    # One pixel of the first convolution's border, carried on by three more, and one
    # of the head's.
    np.testing.assert_allclose(y[5:11], y[8], rtol=1e-5)
    assert abs(y[0] - y[8]) > 1e-3 and abs(y[-1] - y[8]) > 1e-3
    stem = layer.stem
    stem.kernel.assign(np.array([0.0, 1.0, 0.0])[:, None, None] * np.ones((3, 1, 4)))
    y = ops.convert_to_numpy(layer(image))[0, :, 0]
    np.testing.assert_allclose(y[1:-1], y[8], rtol=1e-5)
    assert abs(y[0] - y[8]) > 1e-3 and abs(y[-1] - y[8]) > 1e-3


def test_drops_out_in_training_only():
    layer = LocalAppearance(
        2, filters=4, levels=2, dropout=0.5, heatmap_initializer=1.0
    )
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")

    def call(training):
        return ops.convert_to_numpy(layer(image, training=training))

    np.testing.assert_array_equal(call(False), call(False))
    assert not np.allclose(call(True), call(False))
    assert not np.allclose(call(True), call(True))


def test_heatmaps_are_float32_and_features_bfloat16_under_a_bfloat16_policy():
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")
    with dtype_policy("mixed_bfloat16"):
        layer = LocalAppearance(2, filters=4, levels=2, heatmap_initializer=1.0)
        heatmaps = layer(image)
    assert keras.backend.standardize_dtype(heatmaps.dtype) == "float32"
    assert {c.compute_dtype for c in (layer.stem, *layer.first)} == {"bfloat16"}
    # More than bfloat16 can tell apart between 1 and 2, which is 128 numbers.
    assert len(np.unique(ops.convert_to_numpy(heatmaps))) > 100
    exact = LocalAppearance(2, filters=4, levels=2)
    exact.build(image.shape)
    exact.set_weights(layer.get_weights())
    exact = ops.convert_to_numpy(exact(image))
    np.testing.assert_allclose(
        ops.convert_to_numpy(heatmaps), exact, atol=0.05 * np.abs(exact).max()
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_landmarks": 0}, "`num_landmarks`.*num_landmarks=0"),
        ({"filters": 2.5}, "`filters`.*filters=2.5"),
        ({"levels": 0}, "`levels`.*levels=0"),
        ({"padding": "same"}, "`padding`.*padding='same'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        LocalAppearance(**{"num_landmarks": 3, **arguments})


def test_sizes_that_are_not_divisible_are_refused():
    words = r"multiples of 4 \(3 levels\).*sizes=\(8, 6\)"
    with pytest.raises(ValueError, match=words):
        LocalAppearance(2, filters=2, levels=3)(np.zeros((1, 8, 6, 1), "float32"))
    layer = LocalAppearance(2, filters=2, levels=3)
    layer.build((None, None, None, 1))
    with pytest.raises(ValueError, match=words):
        layer(np.zeros((1, 8, 6, 1), "float32"))
    with pytest.raises(ValueError, match="number of input channels"):
        LocalAppearance(2).build((None, 8, 8, None))
