import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from scn_keras.layers import ConvolutionBlock
from tests.contract import check_contract, dtype_policy
from tests.gradients import weight_gradients


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract():
    arguments = {
        "filters": 4,
        "convolutions": 3,
        "kernel_size": 5,
        "negative_slope": 0.2,
        "padding": "reflect",
        "dropout": 0.25,
        "dropout_last": True,
    }
    check_contract(ConvolutionBlock, arguments, noise(1, 8, 6, 2))


@pytest.mark.parametrize(("padding", "mode"), [("zero", "constant"), ("reflect", None)])
@pytest.mark.parametrize("kernel_size", [3, 4, 5])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_convolution_equals_scipy(rank, kernel_size, padding, mode):
    layer = ConvolutionBlock(2, 1, kernel_size, negative_slope=0.1, padding=padding)
    x = noise(1, *(7, 5, 6)[:rank], 3)
    y = ops.convert_to_numpy(layer(x))[0]
    kernel, bias = (w.numpy() for w in layer.weights)
    # An even kernel reaches one pixel farther ahead than back.
    origin = -1 if kernel_size % 2 == 0 else 0
    expected = bias + sum(
        np.stack(
            [
                ndimage.correlate(
                    x[0, ..., i],
                    kernel[..., i, o],
                    mode=mode or "mirror",
                    origin=origin,
                )
                for o in range(2)
            ],
            axis=-1,
        )
        for i in range(3)
    )
    expected = np.where(expected > 0, expected, 0.1 * expected)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "dropouts"),
    [({}, 0), ({"dropout": 0.5}, 2), ({"dropout": 0.5, "dropout_last": True}, 3)],
)
def test_dropout_is_between_convolutions_or_after_each(arguments, dropouts):
    layer = ConvolutionBlock(16, 3, **arguments)
    x = noise(1, 16, 16, 2)
    first, second = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert len(layer.drop) == dropouts
    assert np.array_equal(first, second) == (dropouts == 0)
    # Only dropout at the end leaves half of what ReLU let through: else about half.
    zeros = np.mean(first == 0.0)
    assert (zeros > 0.6) == (dropouts == 3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer(x, training=False))
    )


def test_reflection_in_bfloat16():
    x = noise(1, 6, 6, 6, 2)
    with dtype_policy("mixed_bfloat16"):
        layer = ConvolutionBlock(4, 1, negative_slope=1.0, padding="reflect")
        y = layer(x)
        assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
        slopes = weight_gradients(
            lambda: ops.sum(ops.cast(layer(x), "float32")), layer.trainable_weights
        )
    exact = ConvolutionBlock(4, 1, negative_slope=1.0, padding="reflect")
    exact.build(x.shape)
    exact.set_weights(layer.get_weights())
    expected = weight_gradients(lambda: ops.sum(exact(x)), exact.trainable_weights)
    for rounded, slope in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(rounded, slope, atol=0.05 * np.abs(slope).max())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": 0}, "`filters`.*filters=0"),
        ({"convolutions": 0}, "`convolutions`.*convolutions=0"),
        ({"kernel_size": 2.5}, "`kernel_size`.*kernel_size=2.5"),
        ({"padding": "same"}, "`padding`.*padding='same'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ConvolutionBlock(**{"filters": 3, **arguments})


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="1 to 3 spatial axes"):
        ConvolutionBlock(2)(np.zeros((1, 3), "float32"))
    with pytest.raises(ValueError, match="number of input channels"):
        ConvolutionBlock(2).build((None, 8, 8, None))
    with pytest.raises(ValueError, match=r"more than 2 pixels.*sizes=\(8, 2\)"):
        ConvolutionBlock(2, kernel_size=5, padding="reflect")(noise(1, 8, 2, 1))
