import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.models import GlobalNet
from tests.gradients import gradients

TINY = {"filters": 2, "blocks": (1, 1)}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("image", "reductions", "votes"),
    [
        ((32,), 3, (4,)),
        ((32, 24), 3, (4, 3)),
        ((16, 24), 1, (8, 12)),
        ((8, 16, 12), 2, (2, 4, 3)),
    ],
)
def test_shapes(image, reductions, votes):
    expected = (2, *votes, 5, 1 + len(image))
    for sizes in (image, [None] * len(image)):
        network = GlobalNet(5, (*sizes, 1), reductions=reductions, **TINY)
        assert network.patch_size == 2**reductions
        assert tuple(network(noise(2, *image, 1)).shape) == expected


def parameters(landmarks, rank, filters, blocks):
    """Layer by layer; a normalisation has four numbers a channel."""
    total, channels = 7**rank * filters + 4 * filters, filters
    for stage, count in enumerate(blocks):
        width = 2 * filters * 2**stage
        for block in range(count):
            into = channels if block == 0 else width
            total += 3**rank * (into + width) * width + 8 * width
        total += channels * width + 4 * width  # the skip connection's convolution
        channels = width
    return total, channels


@pytest.mark.parametrize(
    ("network", "rank", "landmarks", "reduced"),
    [
        (lambda: GlobalNet.cephalogram(19, (64, 64, 1)), 2, 19, (16, 32, 64, 128)),
        (lambda: GlobalNet.volume(8, (16, 16, 16, 1)), 3, 8, (16, 32)),
    ],
    ids=["cephalogram", "volume"],
)
def test_parameters_of_the_published_networks(network, rank, landmarks, reduced):
    total, channels = parameters(landmarks, rank, 16, (3, 4, 6, 3))
    total += 4 * sum(reduced)  # normalised after pooling
    assert channels == 256
    for outputs in (landmarks, landmarks * rank):
        total += 2 * (256 * 256 + 256) + 256 * outputs + outputs
    made = network()
    assert made.count_params() == total
    assert made.patch_size == {2: 32, 3: 8}[rank]


def receptive_field(network, patches):
    """How many pixels of a line the middle output depends on, and the first of them."""
    for weight in network.weights:
        if weight.name == "kernel":
            weight.assign(np.full(weight.shape, 1.0 / np.prod(weight.shape[:-1])))
    middle = patches // 2
    size = network.patch_size * patches
    image = np.ones((1, size, 1), "float32")
    (slope,) = gradients(lambda x: ops.sum(network(x)[:, middle]), image)
    seen = np.flatnonzero(slope[0, :, 0])
    assert seen[0] > 0 and seen[-1] < size - 1  # not cut off by the image
    return seen[-1] - seen[0] + 1


@pytest.mark.parametrize(
    ("options", "layers", "patches"),
    [
        # (kernel, stride) of one layer after the other.
        (
            {"filters": 1, "blocks": (1, 1), "reductions": 2},
            [(7, 2), (2, 2), *[(3, 1)] * 4],
            30,
        ),
        (
            {"filters": 1},
            [
                (7, 2),
                *[(2, 2), *[(3, 1)] * 6],
                *[(2, 2), *[(3, 1)] * 8],
                *[(2, 2), *[(3, 1)] * 12],
                *[(2, 2), *[(3, 1)] * 6],
            ],
            64,
        ),
    ],
    ids=["tiny", "published"],
)
def test_receptive_field_by_gradient(options, layers, patches):
    field, distance = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * distance
        distance *= stride
    network = GlobalNet(1, (None, 1), **options)
    assert network.patch_size == distance
    assert network.receptive_field == field
    assert receptive_field(network, patches) == field


def test_saved_and_loaded(tmp_path):
    network = GlobalNet(3, (16, 8, 1), reductions=2, dtype="mixed_bfloat16", **TINY)
    image = noise(1, 16, 8, 1)
    votes = network(image)
    assert keras.backend.standardize_dtype(votes.dtype) == "float32"
    assert network.get_layer("stage_0_0_0").compute_dtype == "bfloat16"
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is GlobalNet
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(image)), ops.convert_to_numpy(votes)
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"multiples of 8 \(3 reductions\).*\(16, 12\)"
    ):
        GlobalNet(3, (16, 12, 1), reductions=3, **TINY)
    with pytest.raises(ValueError, match=r"multiples of 8 .*\(16, 12\)"):
        GlobalNet(3, reductions=3, **TINY)(noise(1, 16, 12, 1))
    with pytest.raises(ValueError, match="at most 3 times.*reductions=4"):
        GlobalNet(3, reductions=4, **TINY)
    with pytest.raises(ValueError, match="`blocks` must be an integer"):
        GlobalNet(3, blocks=(1, 0))
