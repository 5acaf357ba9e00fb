import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import SpatialConfiguration
from tests.contract import check_contract, dtype_policy


def some_heatmaps(shape, scale=1.0):
    return (scale * np.random.default_rng(0).normal(size=shape)).astype("float32")


def test_contract():
    arguments = {
        "num_landmarks": 2,
        "filters": 4,
        "kernel_size": 3,
        "factor": 4,
        "convolutions": 1,
        "negative_slope": 0.2,
        "heatmap_initializer": 1e-2,
        "border": "replicate",
    }
    check_contract(SpatialConfiguration, arguments, some_heatmaps((1, 8, 12, 3)))


def test_parameters_are_those_of_the_published_network():
    layer = SpatialConfiguration()
    layer.build((None, None, None, 19))
    count = [int(np.prod(w.shape)) for w in layer.weights]
    by_layer = [sum(count[i : i + 2]) for i in range(0, 8, 2)]
    assert by_layer == [294_400, 1_982_592, 1_982_592, 294_291]
    assert layer.count_params() == sum(by_layer)


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks_and_another_number_of_landmarks(rank):
    layer = SpatialConfiguration(7, filters=2, kernel_size=3, factor=2)
    heatmaps = some_heatmaps((1, *(8, 4, 6)[:rank], 3))
    assert layer(heatmaps).shape == (*heatmaps.shape[:-1], 7)
    k = 3**rank
    assert (
        layer.count_params() == (3 * k + 1) * 2 + 2 * (2 * k + 1) * 2 + (2 * k + 1) * 7
    )


def test_output_is_a_bounded_tanh_before_upsampling():
    layer = SpatialConfiguration(
        filters=4, kernel_size=3, factor=4, heatmap_initializer=5.0, border="replicate"
    )
    y = ops.convert_to_numpy(layer(some_heatmaps((1, 16, 16, 2), scale=9.0)))
    # Between two cells at -1 and two at 1 the cubic filter reaches 1.07, in 2D its
    # square and more; a tanh after it would end at 1.
    assert 1.0 < np.abs(y).max() < 1.6


def test_sees_41_cells_as_in_the_reference():
    # Four kernels of 11: 20 cells to either side.
    layer = SpatialConfiguration(filters=2, factor=1, heatmap_initializer=1.0)
    heatmaps = some_heatmaps((1, 64, 1))
    changed = heatmaps.copy()
    changed[0, 32, 0] += 5.0
    difference = ops.convert_to_numpy(layer(changed)) - ops.convert_to_numpy(
        layer(heatmaps)
    )
    seen = np.flatnonzero(difference[0, :, 0])
    assert (seen.min(), seen.max()) == (12, 52)


def test_pools_whole_cells():
    # What moves within a cell, and keeps its sum, changes nothing.
    layer = SpatialConfiguration(
        filters=2, kernel_size=3, factor=4, heatmap_initializer=1.0
    )
    a, b = np.zeros((2, 1, 16, 16, 1), "float32")
    a[0, 4, 8] = 3.0
    b[0, 7, 11] = 3.0
    first, second = (ops.convert_to_numpy(layer(x)) for x in (a, b))
    assert np.abs(first).max() > 0.0
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_heads_and_incoming_heatmaps_are_float32_under_a_bfloat16_policy():
    heatmaps = some_heatmaps((1, 16, 16, 2))
    with dtype_policy("mixed_bfloat16"):
        layer = SpatialConfiguration(
            filters=4, kernel_size=3, factor=4, heatmap_initializer=1.0
        )
        y = layer(heatmaps)
        twin = SpatialConfiguration.from_config(layer.get_config())
        assert twin.dtype_policy.name == "mixed_bfloat16" and not twin.autocast
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert {c.compute_dtype for c in layer.hidden} == {"bfloat16"}
    exact = SpatialConfiguration(filters=4, kernel_size=3, factor=4)
    exact.build(heatmaps.shape)
    exact.set_weights(layer.get_weights())
    exact = ops.convert_to_numpy(exact(heatmaps))
    np.testing.assert_allclose(ops.convert_to_numpy(y), exact, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": 0}, "`filters`.*filters=0"),
        ({"kernel_size": 0}, "`kernel_size`.*kernel_size=0"),
        ({"factor": 2.0}, "`factor`.*factor=2.0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        SpatialConfiguration(**arguments)


def test_sizes_that_are_not_divisible_are_refused():
    words = r"multiples of 16.*sizes=\(32, 40\)"
    with pytest.raises(ValueError, match=words):
        SpatialConfiguration(filters=2).build((None, 32, 40, 3))
    layer = SpatialConfiguration(filters=2, kernel_size=3)
    layer.build((None, None, None, 3))
    with pytest.raises(ValueError, match=words):
        layer(np.zeros((1, 32, 40, 3), "float32"))


def test_wrong_border_is_refused():
    with pytest.raises(ValueError, match="`border`"):
        SpatialConfiguration(filters=2, border="reflect").build((None, 32, 32, 3))
