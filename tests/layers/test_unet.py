import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import UNet
from tests.contract import check_contract, dtype_policy


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_contract():
    arguments = {
        "filters": 4,
        "levels": 2,
        "convolutions": 1,
        "kernel_size": 5,
        "negative_slope": 0.2,
        "pooling": "average",
        "upsampling": "linear",
        "border": "replicate",
        "padding": "reflect",
        "dropout": 0.25,
        "dropout_last": True,
    }
    check_contract(UNet, arguments, noise(1, 8, 6, 2))


@pytest.mark.parametrize(
    ("arguments", "rank", "parameters"),
    [
        # On each level and each way two convolutions, the first of which on the way
        # up takes twice the filters except on the deepest level.
        ({"levels": 4}, 2, 1_280 + (7 + 2 + 3) * 147_584 + 3 * 295_040),
        (
            {"levels": 4, "filters": 96, "convolutions": 1},
            3,
            2_688 + (3 + 1) * 248_928 + 3 * 497_760,
        ),
    ],
)
def test_parameters_are_those_of_the_published_networks(arguments, rank, parameters):
    layer = UNet(**arguments)
    layer.build((*[None] * (rank + 1), 1))
    assert layer.count_params() == parameters


@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
def test_equals_explicit_sums_in_numpy(pooling, upsampling):
    """One dimension, three levels."""
    layer = UNet(2, 3, pooling=pooling, upsampling=upsampling)
    image = noise(1, 16, 2)
    found = ops.convert_to_numpy(layer(image))[0]
    weights = {}
    for weight in layer.weights:
        block, convolution, name = weight.path.split("/")[-3:]
        if name == "bias":
            weight.assign(noise(*weight.shape))
        weights[block, int(convolution[-1]), name] = weight.numpy()
    found = ops.convert_to_numpy(layer(image))[0]

    def block(x, name):
        for i in range(2):
            padded = np.pad(x, ((1, 1), (0, 0)))
            kernel = weights[name, i, "kernel"]
            x = weights[name, i, "bias"] + sum(
                padded[tap : tap + len(x)] @ kernel[tap] for tap in range(3)
            )
            x = np.maximum(x, 0.0)
        return x

    def pool(x):
        return getattr(np, {"average": "mean"}.get(pooling, pooling))(
            x.reshape(-1, 2, x.shape[1]), axis=1
        )

    def double(x):
        if upsampling == "nearest":
            return np.repeat(x, 2, axis=0)
        outer = np.pad(x, ((1, 1), (0, 0)))
        even = 0.25 * outer[:-2] + 0.75 * x
        odd = 0.75 * x + 0.25 * outer[2:]
        return np.stack([even, odd], axis=1).reshape(-1, x.shape[1])

    top = block(image[0], "contracting_0")
    middle = block(pool(top), "contracting_1")
    bottom = block(block(pool(middle), "contracting_2"), "expanding_2")
    middle = block(np.hstack([middle, double(bottom)]), "expanding_1")
    expected = block(np.hstack([top, double(middle)]), "expanding_0")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_features_are_bfloat16_under_a_bfloat16_policy():
    with dtype_policy("mixed_bfloat16"):
        layer = UNet(4, 2, upsampling="linear", pooling="average")
        features = layer(noise(1, 4, 8, 4, 1))
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert {w.dtype for w in layer.weights} == {"float32"}
    exact = UNet(4, 2, upsampling="linear", pooling="average")
    exact.build((None, 4, 8, 4, 1))
    exact.set_weights(layer.get_weights())
    exact = ops.convert_to_numpy(exact(noise(1, 4, 8, 4, 1)))
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(features, "float32")),
        exact,
        atol=0.05 * np.abs(exact).max(),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": 0}, "`filters`.*filters=0"),
        ({"levels": 0}, "`levels`.*levels=0"),
        ({"convolutions": 0}, "`convolutions`.*convolutions=0"),
        ({"pooling": "mean"}, "`pooling`.*pooling='mean'"),
        ({"upsampling": "cubic"}, "`upsampling`.*upsampling='cubic'"),
        ({"padding": "same"}, "`padding`.*padding='same'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        UNet(**arguments)


def test_wrong_inputs_are_refused():
    words = r"multiples of 4 \(3 levels\).*sizes=\(8, 6\)"
    with pytest.raises(ValueError, match=words):
        UNet(2, 3).build((None, 8, 6, 1))
    layer = UNet(2, 3)
    layer.build((None, None, None, 1))
    with pytest.raises(ValueError, match=words):
        layer(noise(1, 8, 6, 1))
    with pytest.raises(ValueError, match="1 to 3 spatial axes"):
        UNet(2)(np.zeros((1, 3), "float32"))
