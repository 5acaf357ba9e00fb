"""Every published network: its parameters as published, and a small one that learns."""

import functools
import types

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import GaussianHeatmap
from scn_keras.losses import HeatmapSquaredError
from scn_keras.metrics import PointError
from scn_keras.models import (
    PUBLISHED_NETWORKS,
    ConvolutionalNet,
    LandmarkModel,
    LocalizationUNet,
    SpatialConfigurationNet,
    published_parameter_counts,
    scn_miccai2016,
    scn_mmwhs,
    scn_verse2019,
    scn_verse2020,
)
from tests.contract import dtype_policy

BACKEND = keras.backend.backend()
FLAT, VOLUME = (16, 24), (8, 8, 16)
SPATIAL = {"spatial_kernel_size": 3, "spatial_factor": 4}
SCN = {"filters": 6, "heatmap_initializer": 0.1}
LEVELS = {"levels": 2}

# Constructor, grid, what makes it small.
SMALL = {
    "scn": (
        SpatialConfigurationNet.cephalogram,
        FLAT,
        {**SCN, **LEVELS, **SPATIAL, "dropout": 0.0},
    ),
    "spine": (
        SpatialConfigurationNet.spine,
        VOLUME,
        {**SCN, **LEVELS, **SPATIAL, "dropout": 0.0},
    ),
    "miccai2016": (scn_miccai2016, FLAT, {**SCN, **SPATIAL}),
    "mmwhs": (scn_mmwhs, FLAT, {**SCN, **LEVELS, **SPATIAL}),
    "verse2019": (
        scn_verse2019,
        VOLUME,
        {**SCN, **LEVELS, **SPATIAL, "dropout": 0.0},
    ),
    "verse2020": (
        scn_verse2020,
        VOLUME,
        {**SCN, **LEVELS, "spatial_factor": 2, "dropout": 0.0},
    ),
    "unet": (LocalizationUNet.hand, FLAT, {**SCN, **LEVELS}),
    "unet_spine": (LocalizationUNet.spine, VOLUME, {**SCN, **LEVELS}),
    "downsampling": (ConvolutionalNet.downsampling, (32, 48), {**SCN, "filters": 8}),
    "conv": (ConvolutionalNet.conv, FLAT, {**SCN, "kernel_size": 5, "convolutions": 3}),
}
# JAX compiles each operation for each shape: there, what covers every layer.
SOME = ["spine", "verse2020", "downsampling"] if BACKEND == "jax" else list(SMALL)
SCNS = ["scn", "spine", "miccai2016", "mmwhs", "verse2019", "verse2020"]


def small(name, landmarks=3, grid=None, **options):
    build, own_grid, arguments = SMALL[name]
    shape = (*(grid or own_grid), 1)
    return build(landmarks, shape, **{**arguments, **options})


def dots(grid):
    """Two images with a bright, a grey and a dark dot, and where they are."""
    random = np.random.default_rng(0)
    size = np.array(grid[::-1])
    center = (size - 1) / 2 + np.array([-0.28, 0.0, 0.28])[:, None] * size * [
        1,
        *[0] * (len(grid) - 1),
    ]
    points = center + random.uniform(-0.08, 0.08, (2, 3, len(grid))) * size
    sigma = 0.06 * size[0]
    places = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij")[::-1], axis=-1)
    image = np.zeros((2, *grid, 1), "float32")
    for i, n in np.ndindex(2, 3):
        squared = np.sum((places - points[i, n]) ** 2, axis=-1)
        image[i, ..., 0] += [1.0, 0.5, -1.0][n] * np.exp(-squared / (2 * sigma**2))
    affine = np.broadcast_to(
        np.eye(len(grid) + 1, dtype="float32"), (2, *[len(grid) + 1] * 2)
    )
    return image, {"points": points.astype("float32"), "affine": affine}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.skipif(BACKEND == "jax", reason="it compiles the start of every kernel")
def test_parameters_are_those_published():
    assert published_parameter_counts() == {
        "SpatialConfigurationNet cephalogram 2D (19)": 6_348_070,
        "SpatialConfigurationNet hand 2D (37)": 6_926_410,
        "SpatialConfigurationNet spine 3D (26)": 5_326_196,
        "SCN MICCAI 2016 hand 2D (37)": 1_240_958,
        "SCN MMWHS hand 2D (37)": 3_718_602,
        "SCN VerSe 2019 vertebrae 3D (25)": 6_054_962,
        "SCN VerSe 2020 vertebrae 3D (26)": 7_044_628,
        "LocalizationUNet cephalogram 2D (19)": 3_397_651,
        "LocalizationUNet hand 2D (37)": 2_662_181,
        "LocalizationUNet spine 3D (26)": 2_702_234,
        "ConvolutionalNet downsampling hand 2D (37)": 2_056_741,
        "ConvolutionalNet conv hand 2D (37)": 9_933_349,
    }


def test_every_published_network_has_a_small_one():
    tested = {build.__qualname__ for build, *_ in SMALL.values()}
    published = {network.build.__qualname__ for network in PUBLISHED_NETWORKS}
    # These two differ from one tested in numbers alone.
    assert published - tested == {
        "SpatialConfigurationNet.hand",
        "LocalizationUNet.cephalogram",
    }


@pytest.mark.parametrize("name", list(SMALL))
def test_every_weight_learns_and_a_batch_is_overfitted(name):
    network = small(name)
    stride = getattr(network, "heatmap_stride", 1)
    sigma = {1: 1.5, 4: 1.0}[stride]
    model = LandmarkModel(network, GaussianHeatmap(3, sigma))
    model.compile(
        keras.optimizers.Adam(1e-2), HeatmapSquaredError(), metrics=[PointError()]
    )
    image, y = dots(network.input_shape[1:-1])

    def error():
        """Takes a step and returns the error before it."""
        model.reset_metrics()
        return model.train_on_batch(image, y, return_dict=True)["point_error"]

    assert error() > 1.0
    # Adam's first moments after one step are a tenth of the gradients.
    moments = [v for v in model.optimizer.variables if v.path.endswith("momentum")]
    assert len(moments) == len(network.trainable_weights) > 0
    for moment in moments:
        gradient = ops.convert_to_numpy(moment)
        assert np.all(np.isfinite(gradient)), moment.path
        assert np.any(gradient != 0.0), moment.path
    assert any(error() < 1.0 for _ in range(300))


@pytest.mark.parametrize(
    ("network", "places"),
    [
        # The authors' code: after each of 16 convolutions of the first U-Net and, in
        # VerSe 2020, of the 8 of the second one.
        (scn_verse2019, 16),
        (scn_verse2020, 24),
        (functools.partial(scn_verse2020, dropout_last=False), 8),
    ],
)
def test_dropout_of_vertebrae(network, places, monkeypatch):
    rates = []

    def call(layer, inputs, training=False):
        rates.append(layer.rate if training else None)
        return inputs

    monkeypatch.setattr(keras.layers.Dropout, "call", call)
    model = network(2, (None, None, 1), filters=2, dropout=0.3)
    for training in (True, False):
        rates.clear()
        model(np.zeros((1, 32, 32, 1), "float32"), training=training)
        assert rates == places * [0.3 if training else None]


@pytest.mark.parametrize("name", SOME)
def test_unknown_sizes_bfloat16_and_files(name, tmp_path):
    _, grid, _ = SMALL[name]
    image = noise(1, *grid, 1)
    with dtype_policy("mixed_bfloat16"):
        network = small(name, grid=[None] * len(grid))
    assert network.output_shape == (*[None] * (len(grid) + 1), 3)
    heatmaps = network(image)
    stride = getattr(network, "heatmap_stride", 1)
    assert tuple(heatmaps.shape) == (1, *(size // stride for size in grid), 3)
    assert keras.backend.standardize_dtype(heatmaps.dtype) == "float32"
    assert {w.dtype for w in network.trainable_weights} == {"float32"}
    policies = {layer.dtype_policy.name for layer in network.layers}
    assert "mixed_bfloat16" in policies
    assert network.get_layer("heatmaps").compute_dtype == "float32"

    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert type(loaded) is type(network)
    if isinstance(SMALL[name][0], types.MethodType):
        assert loaded.get_config() == network.get_config()
    assert getattr(loaded, "heatmap_stride", 1) == stride
    np.testing.assert_array_equal(
        ops.convert_to_numpy(loaded(image)), ops.convert_to_numpy(heatmaps)
    )

    exact = small(name)
    exact.set_weights([w for w in network.get_weights() if w.dtype == "float32"])
    expected = ops.convert_to_numpy(exact(image))
    np.testing.assert_allclose(
        ops.convert_to_numpy(heatmaps), expected, atol=0.08 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", [name for name in SOME if name in SCNS])
def test_heatmaps_are_the_product_of_the_inner_ones(name):
    network = small(name)
    names = ("local_appearance", "spatial_configuration", "heatmaps")
    inner = [network.get_layer(name).output for name in names]
    image = noise(1, *network.input_shape[1:-1], 1)
    local, spatial, heatmaps = (
        ops.convert_to_numpy(x) for x in keras.Model(network.input, inner)(image)
    )
    assert np.all(local.std(axis=tuple(range(local.ndim - 1))) > 0.0)
    np.testing.assert_allclose(heatmaps, local * spatial, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", SOME)
def test_wrong_images_are_refused(name):
    network = small(name, grid=[None] * len(SMALL[name][1]))
    rank = len(network.input_shape) - 2
    if name != "conv":  # to which every size is right
        odd = (15, *[16] * (rank - 1))
        with pytest.raises(ValueError, match=r"multiples of \d+ .*sizes=\(15, 16"):
            network(noise(1, *odd, 1))
        with pytest.raises(ValueError, match=r"multiples of \d+ .*sizes=\(15, 16"):
            small(name, grid=odd)
    with pytest.raises(ValueError, match="shape"):
        network(noise(1, *[16] * (rank + 1), 2))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="XLA is JAX's own compiler")
@pytest.mark.parametrize("name", ["miccai2016", "verse2020"])
def test_xla(name):
    network = small(name)
    model = LandmarkModel(network, GaussianHeatmap(3, 1.5))
    model.compile(keras.optimizers.SGD(0.1), HeatmapSquaredError(), jit_compile=True)
    image, y = dots(network.input_shape[1:-1])
    before = network.get_weights()
    model.fit(image, y, verbose=0)
    for old, new in zip(before, network.get_weights(), strict=True):
        assert np.all(np.isfinite(new)) and np.any(new != old)


def test_points_of_strided_heatmaps_are_in_pixels_of_the_image():
    # A network that pools whole cells, so that its heatmaps are known.
    image = keras.Input((32, 48, 1))
    network = keras.Model(image, keras.layers.AveragePooling2D(4)(image))
    network.heatmap_stride = 4
    model = LandmarkModel(network, GaussianHeatmap(1, 1.5))
    y, x = np.mgrid[:32, :48]
    points = np.array([[[21.3, 14.6]], [[9.0, 20.2]]])
    blobs = [np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2) / 72) for p in points[:, 0]]
    found = model.localizer.predict(np.stack(blobs)[..., None], verbose=0)
    np.testing.assert_allclose(found["points"], points, atol=0.05)
    # The blobs' sigma is 6 pixels, and a cell adds the variance of its width.
    variance = 36 + (4**2 - 1) / 12
    np.testing.assert_allclose(found["covariance"][:, 0, 0, 0], variance, rtol=0.05)


@pytest.mark.parametrize("activation", ["squash", "sigmoid", None])
def test_activations_of_verse_2020(activation):
    network = small(
        "verse2020",
        local_activation=activation,
        spatial_activation=activation,
        heatmap_initializer=None,
    )
    deviation = {None: 1e-3}.get(activation, 0.05)
    head = network.get_layer("local_appearance").kernel
    assert ops.convert_to_numpy(head).std() == pytest.approx(0.88 * deviation, rel=0.5)
    spatial = network.get_layer("spatial_configuration")
    assert (spatial.activation, spatial.activate_last) == (activation, True)
    heatmaps = ops.convert_to_numpy(network(noise(1, *VOLUME, 1)))
    start = {"squash": 0.00697, "sigmoid": 0.00669, None: 0.0}[activation] ** 2
    assert np.median(heatmaps) == pytest.approx(start, rel=0.2, abs=1e-6)


def test_wrong_activations_are_refused():
    with pytest.raises(ValueError, match="`local_activation`.*'relu'"):
        scn_verse2020(local_activation="relu")


@pytest.mark.parametrize("network_class", [LocalizationUNet, ConvolutionalNet])
def test_options_reach_their_layers(network_class):
    options = {"filters": 4, "levels": 3, "heatmap_initializer": 1e-2}
    options |= (
        {"dropout": 0.1, "stem": True, "head_kernel_size": 5}
        if network_class is LocalizationUNet
        else {"convolutions": 1, "kernel_size": 5}
    )
    network = network_class(2, (16, 16, 3), **options, name="net")
    config = network.get_config()
    assert config["image_shape"] == (16, 16, 3) and config["name"] == "net"
    for name, value in options.items():
        assert config[name] == value
    assert network_class.from_config(config).get_config() == config
    kernels = [w.shape for w in network.weights if w.name == "kernel"]
    assert kernels[0] == ((3, 3, 3, 4) if "stem" in options else (5, 5, 3, 4))
    assert kernels[-1] == ((5, 5, 4, 2) if "stem" in options else (1, 1, 4, 2))
