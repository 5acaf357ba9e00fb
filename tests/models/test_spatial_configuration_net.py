import itertools

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.models import LocalizationUNet, SpatialConfigurationNet
from tests.contract import dtype_policy

TINY = {
    "filters": 4,
    "levels": 2,
    "spatial_kernel_size": 3,
    "spatial_factor": 4,
    "heatmap_initializer": 0.3,
}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("landmarks", "parameters"), [(19, 6_348_070), (37, 6_926_410)]
)
def test_parameters_are_those_of_the_published_network(landmarks, parameters):
    network = SpatialConfigurationNet(landmarks)
    assert network.count_params() == parameters
    assert len(network.trainable_weights) == len(network.weights) == 2 * (14 + 4)
    assert network.output_shape == (None, None, None, landmarks)


def test_parameters_are_those_of_the_published_3d_network():
    # The spine network of the paper.
    network = SpatialConfigurationNet(
        26,
        (None, None, None, 1),
        filters=64,
        spatial_kernel_size=7,
        spatial_factor=8,
        heatmap_initializer=1e-3,
    )
    assert network.count_params() == 5_326_196


def test_equals_the_published_equations_in_numpy():
    """One dimension, two levels, everything by explicit sums."""
    levels, slope, factor = 2, 0.1, 4
    network = SpatialConfigurationNet(3, (16, 2), kernel_size=3, **TINY)
    for weight in network.weights:
        if weight.name == "bias":
            weight.assign(noise(*weight.shape))
    layers = {
        layer.name: [w.numpy().astype("float64") for w in layer.weights]
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.Conv1D)
    }
    assert len(layers) == 1 + 3 * levels + 3 + 1  # both heads are called `head`
    heads = [
        [w.numpy().astype("float64") for w in network.get_layer(name).head.weights]
        for name in ("local_appearance", "spatial_configuration")
    ]

    def convolve(x, weights):
        kernel, bias = weights
        half = len(kernel) // 2
        padded = np.pad(x, ((half, half), (0, 0)))
        y = np.zeros((len(x), kernel.shape[2])) + bias
        for i, tap in itertools.product(range(len(x)), range(len(kernel))):
            y[i] += padded[i + tap] @ kernel[tap]
        return y

    def active(x, name):
        y = convolve(x, layers[name])
        return np.where(y > 0.0, y, slope * y)

    def pool(x, size):
        return x.reshape(-1, size, x.shape[1]).mean(axis=1)

    def upsample(x, size, kernel):
        y = np.zeros((len(x) * size, x.shape[1]))
        for i, tap in itertools.product(range(len(y)), range(len(x))):
            y[i] += kernel((i + 0.5) / size - 0.5 - tap) * x[tap]
        return y

    def triangle(t):
        return max(0.0, 1.0 - abs(t))

    def keys(t):
        t = abs(t)
        if t < 1.0:
            return 1.5 * t**3 - 2.5 * t**2 + 1.0
        return -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0 if t < 2.0 else 0.0

    image = noise(1, 16, 2)
    x = active(image[0], "stem")
    parallel = []
    for level in range(levels):
        x = pool(x, 2) if level else x
        x = active(active(x, f"contracting_{level}_0"), f"contracting_{level}_1")
        parallel.append(active(x, f"parallel_{level}"))
    fine, coarse = parallel
    local = convolve(fine + upsample(coarse, 2, triangle), heads[0])
    x = pool(local, factor)
    for i in range(3):
        x = active(x, f"convolution_{i}")
    spatial = upsample(np.tanh(convolve(x, heads[1])), factor, keys)

    inner = [
        network.get_layer(name).output
        for name in ("local_appearance", "spatial_configuration", "heatmaps")
    ]
    found = keras.Model(network.input, inner)(image)
    for tensor, expected in zip(found, (local, spatial, local * spatial), strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(tensor)[0],
            expected,
            rtol=1e-4,
            atol=1e-5 * np.abs(expected).max(),
        )


def test_sizes_unknown_when_built():
    network = SpatialConfigurationNet(3, **TINY)
    fixed = SpatialConfigurationNet(3, (8, 12, 1), **TINY)
    fixed.set_weights(network.get_weights())
    image = noise(2, 8, 12, 1)
    heatmaps = network.predict(image, verbose=0)
    assert heatmaps.shape == (2, 8, 12, 3)
    expected = fixed.predict(image, verbose=0)
    np.testing.assert_allclose(heatmaps, expected, atol=1e-5 * np.abs(expected).max())
    assert network.predict(noise(1, 16, 4, 1), verbose=0).shape == (1, 16, 4, 3)


def test_3d():
    network = SpatialConfigurationNet(2, (8, 4, 12, 1), **TINY)
    heatmaps = ops.convert_to_numpy(network(noise(1, 8, 4, 12, 1)))
    assert heatmaps.shape == (1, 8, 4, 12, 2)
    assert np.all(np.isfinite(heatmaps)) and np.all(heatmaps.std(axis=(1, 2, 3)) > 0.0)


def test_options_reach_their_layers():
    options = {
        "filters": 4,
        "levels": 3,
        "kernel_size": 5,
        "dropout": 0.1,
        "spatial_filters": 6,
        "spatial_kernel_size": 7,
        "spatial_factor": 8,
        "spatial_border": "replicate",
        "heatmap_initializer": 1e-2,
    }
    network = SpatialConfigurationNet(3, (None, None, 2), **options, name="scn")
    local = network.get_layer("local_appearance").get_config()
    spatial = network.get_layer("spatial_configuration").get_config()
    for name in ("filters", "levels", "kernel_size", "dropout", "heatmap_initializer"):
        assert local[name] == options[name]
    for name in ("filters", "kernel_size", "factor", "border"):
        assert spatial[name] == options[f"spatial_{name}"]
    assert spatial["heatmap_initializer"] == 1e-2
    config = network.get_config()
    assert config["image_shape"] == (None, None, 2)
    for name, value in options.items():
        assert config[name] == value
    twin = SpatialConfigurationNet.from_config(config)
    assert twin.get_config() == config
    assert twin.name == "scn"


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_and_loaded(tmp_path, policy):
    network = SpatialConfigurationNet(3, dtype=policy, **TINY)
    image = noise(1, 8, 12, 1)
    heatmaps = network(image)
    assert keras.backend.standardize_dtype(heatmaps.dtype) == "float32"
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is SpatialConfigurationNet
    assert loaded.get_config() == network.get_config()
    assert loaded.get_layer("local_appearance").dtype_policy.name == policy
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(image)), ops.convert_to_numpy(heatmaps)
    )


def test_follows_the_global_policy():
    with dtype_policy("mixed_bfloat16"):
        network = SpatialConfigurationNet(3, **TINY)
    assert network.get_layer("local_appearance").dtype_policy.name == "mixed_bfloat16"
    assert network.get_layer("spatial_configuration").compute_dtype == "bfloat16"
    assert network.get_layer("heatmaps").compute_dtype == "float32"
    assert {w.dtype for w in network.weights} == {"float32"}
    twin = SpatialConfigurationNet.from_config(network.get_config())
    assert twin.get_layer("local_appearance").dtype_policy.name == "mixed_bfloat16"


def test_sizes_that_are_not_divisible_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 8 \(4 levels\).*\(64, 60\)"):
        SpatialConfigurationNet(3, (64, 60, 1), filters=2)
    with pytest.raises(ValueError, match=r"multiples of 16 .*\(64, 72\)"):
        SpatialConfigurationNet(3, (64, 72, 1), filters=2)
    with pytest.raises(ValueError, match=r"multiples of 4 .*\(8, 10\)"):
        SpatialConfigurationNet(3, **TINY)(noise(1, 8, 10, 1))


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SpatialConfigurationNet, TINY),
        (LocalizationUNet, {"filters": 4, "levels": 2}),
    ],
)
def test_stride_reduces_centred_blocks(kind, options, stride):
    """The image's details reach the network; its symmetry is that of whole pixels."""
    network = kind(3, (16 * stride, 8 * stride, 1), stride=stride, **options)
    assert network.heatmap_stride == stride
    assert network.output_shape == (None, 16, 8, 3)
    reduction = network.get_layer("reduction")
    assert tuple(reduction.kernel.shape) == (2 * stride, 2 * stride, 1, 4)
    reduction.kernel.assign(np.ones(reduction.kernel.shape))
    image = np.zeros((1, 16 * stride, 8 * stride, 1), "float32")
    block = slice(4 * stride, 5 * stride)  # what pixel 4 of the heatmaps covers
    image[0, block, block] = 1.0
    reduced = keras.Model(network.input, reduction.output)
    features = ops.convert_to_numpy(reduced(image))[0, ..., 0]
    near = features[3:6, 3:6] / features[4, 4]
    np.testing.assert_allclose(near, np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]), atol=1e-6)
    assert np.count_nonzero(features) == 9


def test_the_published_network_has_heatmaps_as_large_as_the_image():
    assert SpatialConfigurationNet(3, (16, 8, 1), **TINY).heatmap_stride == 1
    assert LocalizationUNet(3, (16, 8, 1), 4, levels=2).heatmap_stride == 1
    with pytest.raises(ValueError, match="`stride` must be an integer"):
        SpatialConfigurationNet(3, (16, 8, 1), stride=0, **TINY)
