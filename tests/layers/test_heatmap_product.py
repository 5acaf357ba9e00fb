import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import HeatmapProduct
from tests.contract import check_contract, dtype_policy


def some_heatmaps(count, shape=(2, 5, 4, 3)):
    return list(np.random.default_rng(0).normal(size=(count, *shape)).astype("float32"))


def test_contract():
    check_contract(HeatmapProduct, {}, some_heatmaps(2))


@pytest.mark.parametrize("count", [2, 3])
def test_multiplies_all_inputs(count):
    inputs = some_heatmaps(count)
    product = ops.convert_to_numpy(HeatmapProduct()(inputs))
    np.testing.assert_allclose(product, np.prod(inputs, axis=0), rtol=1e-6)


def test_stays_float32_under_a_bfloat16_policy():
    inputs = some_heatmaps(2)
    with dtype_policy("mixed_bfloat16"):
        product = HeatmapProduct()(inputs)
    assert keras.backend.standardize_dtype(product.dtype) == "float32"
    expected = inputs[0] * inputs[1]
    np.testing.assert_allclose(ops.convert_to_numpy(product), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 5, 4, 3)],
        [(2, 5, 4, 3), (2, 5, 4, 1)],
        [(2, 5, 4, 3), (2, 5, 1, 3)],
        [(2, 5, 4, 3), (2, 5, 4)],
    ],
)
def test_unlike_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="two or more heatmaps of one shape"):
        HeatmapProduct()([np.zeros(shape, "float32") for shape in shapes])
    with pytest.raises(ValueError, match="two or more heatmaps of one shape"):
        HeatmapProduct()(np.zeros((2, 5, 4, 3), "float32"))


def test_unknown_sizes_may_meet_known_ones():
    inputs = [keras.KerasTensor((None, None, 4, 3)), keras.KerasTensor((None, 5, 4, 3))]
    assert HeatmapProduct()(inputs).shape[2:] == (4, 3)
