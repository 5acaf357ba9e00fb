import json

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from scn_keras.layers import SpatialConfiguration, UNet
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
        "padding": "reflect",
        "interpolation": "linear",
        "activation": "abs_tanh",
        "activate_last": True,
    }
    check_contract(SpatialConfiguration, arguments, some_heatmaps((1, 8, 12, 3)))


def test_contract_of_one_kernel_a_landmark():
    arguments = {"kernel_size": 3, "factor": 4, "convolutions": 0, "own_heatmap": False}
    check_contract(SpatialConfiguration, arguments, some_heatmaps((1, 8, 12, 3)))


def test_a_network_of_its_own():
    layer = SpatialConfiguration(
        kernel_size=1, factor=2, convolutions=0, network=UNet(4, 2, dropout=0.5)
    )
    heatmaps = some_heatmaps((1, 8, 12, 3))
    y = ops.convert_to_numpy(layer(heatmaps))
    names = {w.path.split("/")[-3] for w in layer.weights}
    assert {"contracting_0", "contracting_1", "expanding_0", "expanding_1"} <= names
    assert layer.count_params() == layer.network.count_params() + (4 + 1) * 3
    again = [ops.convert_to_numpy(layer(heatmaps, training=True)) for _ in range(2)]
    assert not np.array_equal(*again)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert twin.network.get_config() == layer.network.get_config()
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(twin(heatmaps)), y)
    # Any layer will do.
    other = SpatialConfiguration(
        factor=2, filters=2, kernel_size=3, network=keras.layers.Conv2D(5, 1)
    )
    assert other(heatmaps).shape == heatmaps.shape


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_kernel_a_landmark_from_all_the_others(rank):
    landmarks, size = 4, (9, 7, 8)[:rank]
    layer = SpatialConfiguration(
        kernel_size=3,
        factor=1,
        convolutions=0,
        heatmap_initializer=1.0,
        activation=None,
        own_heatmap=False,
    )
    heatmaps = some_heatmaps((1, *size, landmarks))
    layer.build(heatmaps.shape)
    kernel, bias = layer.weights
    assert layer.count_params() == landmarks * (3**rank * (landmarks - 1) + 1)
    bias.assign(np.arange(4.0))
    y = ops.convert_to_numpy(layer(heatmaps))[0]
    # The kernel's entries are those of a square matrix without its diagonal.
    whole = np.zeros((*[3] * rank, landmarks, landmarks))
    whole[..., ~np.eye(landmarks, dtype=bool)] = kernel.numpy().reshape(*[3] * rank, -1)
    for o in range(landmarks):
        others = [i for i in range(landmarks) if i != o]
        expected = o + sum(
            ndimage.correlate(
                heatmaps[0, ..., i].astype("float64"), whole[..., i, o], mode="constant"
            )
            for i in others
        )
        np.testing.assert_allclose(y[..., o], expected, atol=1e-5)


def test_parameters_of_2016():
    layer = SpatialConfiguration(
        kernel_size=15, factor=8, convolutions=0, own_heatmap=False
    )
    layer.build((None, None, None, 37))
    assert layer.count_params() == 37 * (15 * 15 * 36 + 1) == 299_737


def test_one_kernel_a_landmark_takes_nothing_else():
    with pytest.raises(ValueError, match="`convolutions=0`.*convolutions=3"):
        SpatialConfiguration(own_heatmap=False)
    with pytest.raises(ValueError, match="no `network`"):
        SpatialConfiguration(own_heatmap=False, convolutions=0, network=UNet())
    layer = SpatialConfiguration(2, convolutions=0, own_heatmap=False)
    with pytest.raises(ValueError, match="num_landmarks=2"):
        layer.build((None, 32, 32, 3))


ACTIVATIONS = {
    None: lambda x: x,
    "tanh": np.tanh,
    "abs_tanh": lambda x: np.abs(np.tanh(x)),
    "square_tanh": lambda x: np.tanh(x**2),
    "inv_gauss": lambda x: 1.0 - np.exp(-(x**2)),
    # The primitive of a difference of two sigmoids.
    "squash": lambda x: np.log((1 + np.exp(x - 4.5)) / (1 + np.exp(x - 5.5))),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(5.0 - x)),
}


@pytest.mark.parametrize("activate_last", [False, True])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_activations_come_before_or_after_upsampling(activation, activate_last):
    arguments = {"filters": 2, "kernel_size": 3, "factor": 4, "convolutions": 1}
    heatmaps = some_heatmaps((1, 16, 2), 5.0)
    layer = SpatialConfiguration(
        **arguments,
        heatmap_initializer=1.0,
        activation=activation,
        activate_last=activate_last,
    )
    layer.build(heatmaps.shape)
    cells = SpatialConfiguration(
        **{**arguments, "convolutions": 1}, activation=None, heatmap_initializer=1.0
    )
    cells.build(heatmaps.shape)
    cells.set_weights(layer.get_weights())
    y = ops.convert_to_numpy(cells.pool(heatmaps))
    for convolution in (*cells.hidden, cells.head):
        y = ops.convert_to_numpy(convolution(y))
    function = ACTIVATIONS[activation]

    def up(x):
        return ops.convert_to_numpy(cells.up(np.asarray(x, "float32")))

    expected = function(up(y)) if activate_last else up(function(y))
    found = ops.convert_to_numpy(layer(heatmaps))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_reflects_at_the_border():
    # What does not vary stays so.
    layer = SpatialConfiguration(
        filters=2,
        kernel_size=3,
        factor=1,
        heatmap_initializer=1.0,
        padding="reflect",
    )
    y = ops.convert_to_numpy(layer(np.ones((1, 6, 8, 3), "float32")))
    assert np.abs(y).max() > 1e-3
    np.testing.assert_allclose(y, np.broadcast_to(y[:, 3:4, 3:4], y.shape), rtol=1e-4)


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
        ({"padding": "same"}, "`padding`.*padding='same'"),
        ({"activation": "relu"}, "`activation`.*activation='relu'"),
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
