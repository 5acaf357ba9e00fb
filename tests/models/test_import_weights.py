"""Checkpoints with the authors' names and shapes, against numbers of SciPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import signal

from scn_keras.layers import GaussianHeatmap, LocalRefinement
from scn_keras.models import (
    ConvolutionalNet,
    GlobalNet,
    LandmarkModel,
    LocalizationUNet,
    SpatialConfigurationNet,
    import_weights,
    scn_miccai2016,
    scn_mmwhs,
    scn_verse2019,
    scn_verse2020,
)

EPSILON = 1e-5  # of PyTorch's normalisation


def tensorflow(*layers, rank=2, seed=0):
    """Arrays of convolutions `(name, kernel size, inputs, outputs)`."""
    random, arrays = np.random.default_rng(seed), {}
    for name, size, inputs, outputs in layers:
        shape = (*[size] * rank, inputs, outputs)
        arrays[f"{name}/kernel"] = random.normal(0, 0.3, shape)
        arrays[f"{name}/bias"] = random.normal(0, 0.3, outputs)
    return {name: np.float32(array) for name, array in arrays.items()}


def scn(filters, landmarks, levels=4, size=3, spatial=11, rank=2):
    """The checkpoint of the network of 2019, in the scope of its training."""
    layers = [("net/conv0", size, 1, filters)]
    for level in range(levels):
        scope = f"net/contracting/level{level}"
        layers += [(f"{scope}/conv_0", size, filters, filters)]
        layers += [(f"{scope}/conv_1", size, filters, filters)]
        layers += [(f"net/parallel/level{level}/conv", size, filters, filters)]
    layers += [("net/local_heatmaps", size, filters, landmarks)]
    layers += [("net/sconv0", spatial, landmarks, filters)]
    layers += [(f"net/sconv{i}", spatial, filters, filters) for i in (1, 2)]
    layers += [("net/spatial_downsampled", spatial, filters, landmarks)]
    return tensorflow(*layers, rank=rank)


def unet(scope, filters, levels, inputs, convolutions=2, size=3):
    layers = []
    for path in ("contracting", "expanding"):
        for level in range(levels):
            channels = 2 * filters if path == "expanding" else filters
            if path == "contracting" and level == 0:
                channels = inputs
            elif level == levels - 1:
                channels = filters
            for i in range(convolutions):
                name = f"{scope}{path}/level{level}/conv{i}"
                layers.append((name, size, filters if i else channels, filters))
    return layers


def verse2020(filters, landmarks, levels):
    layers = []
    for part, inputs, convolutions in (
        ("scnet_local", 1, 2),
        ("scnet_spatial", landmarks, 1),
    ):
        for name, *rest in unet("", filters, levels, inputs, convolutions):
            path, level, last = name.split("/")
            # A layer of dropout follows each convolution.
            place = f"{path}_layers/{level}/layers/{2 * int(last[-1])}"
            layers.append((f"model/{part}/{place}", *rest))
    layers.append(("model/local_heatmaps/layers/0", 1, filters, landmarks))
    layers.append(("model/spatial_heatmaps", 1, filters, landmarks))
    ending = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {k + ending: v for k, v in tensorflow(*layers, rank=3).items()}


def miccai2016(filters, landmarks, size=5, spatial=15):
    scope = "net/local_appearance"
    layers = [
        (f"{scope}/conv{i}", size, filters if i > 1 else 1, filters) for i in (1, 2, 3)
    ]
    layers += [(f"{scope}/local_heatmaps", size, filters, landmarks)]
    name = "net/spatial_configuration/h_acc_"
    layers += [(f"{name}{i}", spatial, landmarks - 1, 1) for i in range(landmarks)]
    return tensorflow(*layers)


def mmwhs(filters, landmarks, levels, spatial):
    scope = "net/spatial_configuration"
    layers = unet("net/unet/", filters, levels, 1)
    layers += [("net/unet/local_prediction", 1, filters, landmarks)]
    layers += [(f"{scope}/scconv0", spatial, landmarks, filters)]
    layers += [(f"{scope}/scconv{i}", spatial, filters, filters) for i in (1, 2)]
    layers += [(f"{scope}/spatial_prediction_pool", spatial, filters, landmarks)]
    return tensorflow(*layers)


def verse2019(filters, landmarks, levels, spatial):
    layers = [("net/conv0", 3, 1, filters)]
    layers += unet("net/", filters, levels, filters)
    layers += [("net/local_heatmaps", 3, filters, landmarks)]
    layers += [("net/sconv0", spatial, landmarks, filters)]
    layers += [(f"net/sconv{i}", spatial, filters, filters) for i in (1, 2)]
    layers += [("net/spatial_downsampled", spatial, filters, landmarks)]
    return tensorflow(*layers, rank=3)


def unet_spine(filters, landmarks, levels):
    layers = [("scn/conv0", 3, 1, filters), *unet("scn/", filters, levels, filters)]
    return tensorflow(*layers, ("scn/heatmaps", 3, filters, landmarks), rank=3)


def downsampling(filters, landmarks):
    layers = []
    for level in range(3):
        name = f"net/downsampling/level{level}/conv"
        layers += [(f"{name}0", 5, filters if level else 1, filters)]
        layers += [(f"{name}1", 5, filters, filters)]
    return tensorflow(*layers, ("net/downsampling/heatmaps", 1, filters, landmarks))


def plain(filters, landmarks):
    layers = [
        (f"net/downsampling/conv{i}", 11, filters if i else 1, filters)
        for i in range(6)
    ]
    return tensorflow(*layers, ("net/downsampling/heatmaps", 1, filters, landmarks))


def unet_head(filters, landmarks, levels):
    head = ("net/unet/heatmaps", 1, filters, landmarks)
    return tensorflow(*unet("net/unet/", filters, levels, 1), head)


SMALL = {"filters": 4, "levels": 2}
SPATIAL = {"spatial_kernel_size": 3, "spatial_factor": 4}
NETWORKS = {
    "scn": (
        lambda: SpatialConfigurationNet(3, **SMALL, **SPATIAL),
        lambda: scn(4, 3, levels=2, spatial=3),
    ),
    "spine": (
        lambda: SpatialConfigurationNet.spine(3, **SMALL, **SPATIAL),
        lambda: scn(4, 3, levels=2, spatial=3, rank=3),
    ),
    "miccai2016": (lambda: scn_miccai2016(3, filters=4), lambda: miccai2016(4, 3)),
    "mmwhs": (lambda: scn_mmwhs(3, **SMALL, **SPATIAL), lambda: mmwhs(4, 3, 2, 3)),
    "verse2019": (
        lambda: scn_verse2019(3, **SMALL, **SPATIAL),
        lambda: verse2019(4, 3, 2, 3),
    ),
    "verse2020": (lambda: scn_verse2020(3, **SMALL), lambda: verse2020(4, 3, 2)),
    "unet": (lambda: LocalizationUNet(3, **SMALL), lambda: unet_head(4, 3, 2)),
    "unet_spine": (
        lambda: LocalizationUNet.spine(3, **SMALL),
        lambda: unet_spine(4, 3, 2),
    ),
    "downsampling": (
        lambda: ConvolutionalNet.downsampling(3, filters=4),
        lambda: downsampling(4, 3),
    ),
    "conv": (lambda: ConvolutionalNet.conv(3, filters=4), lambda: plain(4, 3)),
}


@pytest.mark.parametrize(
    ("arrays", "parameters"),
    [
        (lambda: scn(128, 19), 6_348_070),
        (lambda: miccai2016(128, 37), 1_240_958),
        (lambda: mmwhs(128, 37, 4, 5), 3_718_602),
        (lambda: verse2020(96, 26, 4), 7_044_628),
        (lambda: verse2019(64, 25, 4, 7), 6_054_962),
        (lambda: unet_head(128, 19, 5), 3_397_651),
        (lambda: downsampling(128, 37), 2_056_741),
    ],
)
def test_made_checkpoints_have_the_published_numbers_of_parameters(arrays, parameters):
    assert sum(array.size for array in arrays().values()) == parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_every_array_is_used_once(name):
    build, make = NETWORKS[name]
    network, arrays = build(), make()
    slots = {
        "net/conv0/kernel/Momentum": np.zeros(3),
        "Variable": np.int64(30_000),
        "sigmas": np.full(3, 2.5),
        "optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE": np.int64(1),
    }
    import_weights(network, {**arrays, **slots})
    given = np.concatenate([np.ravel(array) for array in arrays.values()])
    found = np.concatenate([np.ravel(w) for w in network.get_weights()])
    assert network.count_params() == given.size
    np.testing.assert_array_equal(np.sort(found)[-given.size :], np.sort(given))


def convolved(x, kernel, bias, before=None):
    """Cross-correlation of `(rows, columns, channels)` with zeros outside."""
    after = (kernel.shape[0] - 1) // 2
    before = after if before is None else before
    pad = (before, kernel.shape[0] - 1 - before)
    x = np.pad(np.float64(x), [pad, pad, (0, 0)])
    out = [
        sum(
            signal.correlate(x[..., i], kernel[..., i, o], "valid", "direct")
            for i in range(x.shape[-1])
        )
        for o in range(kernel.shape[-1])
    ]
    return np.stack(out, axis=-1) + bias


def pooled(x, factor):
    rows, columns, channels = x.shape
    shape = (rows // factor, factor, columns // factor, factor, channels)
    return x.reshape(shape).mean(axis=(1, 3))


def upsampled(x, factor, weight):
    """Sampled at the centres of the fine pixels, with zeros outside."""
    for axis in (0, 1):
        fine = (np.arange(x.shape[axis] * factor) + 0.5) / factor - 0.5
        matrix = weight(np.abs(fine[:, None] - np.arange(x.shape[axis])))
        x = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
    return x


def linear(distance):
    return np.maximum(1 - distance, 0)


def keys(t):
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def image(size=16):
    return np.random.default_rng(1).normal(size=(1, size, size, 1)).astype("float32")


def test_heatmaps_of_the_network_of_2019():
    network, arrays = NETWORKS["scn"][0](), NETWORKS["scn"][1]()
    import_weights(network, arrays)

    def apply(name, x, activation=leaky):
        kernel, bias = (arrays[f"net/{name}/{part}"] for part in ("kernel", "bias"))
        return activation(convolved(x, kernel, bias))

    x, skips = apply("conv0", image()[0]), []
    for level in (0, 1):
        x = pooled(x, 2) if level else x
        x = apply(f"contracting/level{level}/conv_0", x)
        x = apply(f"contracting/level{level}/conv_1", x)
        skips.append(apply(f"parallel/level{level}/conv", x))
    x = skips[0] + upsampled(skips[1], 2, linear)
    local = apply("local_heatmaps", x, lambda y: y)
    x = pooled(local, 4)
    for i in range(3):
        x = apply(f"sconv{i}", x)
    spatial = upsampled(apply("spatial_downsampled", x, np.tanh), 4, keys)
    found = ops.convert_to_numpy(network(image()))[0]
    np.testing.assert_allclose(found, local * spatial, rtol=1e-4, atol=1e-5)


def test_heatmaps_of_the_network_of_2016():
    network, arrays = NETWORKS["miccai2016"][0](), NETWORKS["miccai2016"][1]()
    import_weights(network, arrays)

    def apply(name, x):
        kernel, bias = (arrays[f"net/{name}/{part}"] for part in ("kernel", "bias"))
        return convolved(x, kernel, bias)

    x = image()[0]
    for i in (1, 2, 3):
        x = np.maximum(apply(f"local_appearance/conv{i}", x), 0)
    local = apply("local_appearance/local_heatmaps", x)
    coarse = pooled(local, 8)
    maps = [
        apply(f"spatial_configuration/h_acc_{i}", np.delete(coarse, i, axis=-1))
        for i in range(3)
    ]
    spatial = upsampled(np.concatenate(maps, axis=-1), 8, linear)
    found = ops.convert_to_numpy(network(image()))[0]
    np.testing.assert_allclose(found, local * spatial, rtol=1e-4, atol=1e-4)


class PyTorchArrays(dict):
    """A state dict of convolutions and normalisations, and their results."""

    def __init__(self, rank=2):
        super().__init__()
        self.random, self.rank = np.random.default_rng(3), rank

    def convolution(self, name, size, inputs, outputs):
        shape = (outputs, inputs, *[size] * self.rank)
        self[f"{name}.weight"] = self.random.normal(0, 0.3, shape)
        self[f"{name}.bias"] = self.random.normal(0, 0.3, outputs)

    def normalization(self, name, channels):
        for part in ("weight", "bias", "running_mean"):
            self[f"{name}.{part}"] = self.random.normal(1, 0.3, channels)
        self[f"{name}.running_var"] = self.random.uniform(0.5, 2, channels)
        self[f"{name}.num_batches_tracked"] = np.int64(7)

    def convolve(self, name, x, before=None):
        kernel = np.transpose(self[f"{name}.weight"], (2, 3, 1, 0))
        return convolved(x, kernel, self[f"{name}.bias"], before)

    def normalize(self, name, x):
        parts = ("weight", "bias", "running_mean", "running_var")
        gamma, beta, mean, variance = (self[f"{name}.{part}"] for part in parts)
        return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


def relu(x):
    return np.maximum(x, 0)


def global_arrays(landmarks, rank=2):
    """`AVP` network of 4 filters with blocks (1, 2) and one pooling."""
    state = PyTorchArrays(rank)
    state.convolution("model.0", 7, 1, 4)
    state.normalization("model.1", 4)
    state.normalization("model.4", 4)  # after ReLU 2 and pooling 3
    for index, inputs, outputs in ((6, 4, 8), (7, 8, 16), (8, 16, 16)):
        block = f"model.{index}.conv_block"
        state.convolution(f"{block}.0", 3, inputs, outputs)
        state.normalization(f"{block}.1", outputs)
        state.convolution(f"{block}.3", 3, outputs, outputs)
        state.normalization(f"{block}.4", outputs)
        if inputs != outputs:
            state.convolution(f"model.{index}.shortcut.conv", 1, inputs, outputs)
            if rank == 2:
                state.normalization(f"model.{index}.shortcut.bn", outputs)
    for name in ("FCC1.0", "FCC2.0", "FCR1.0", "FCR2.0"):
        state.convolution(name, 1, 16, 16)
    state.convolution("outputC.0", 1, 16, landmarks)
    state.convolution("outputR", 1, 16, landmarks * rank)
    return state


def votes_of(state, x, landmarks, before):
    """Presence and displacement of `global_arrays`, the stem padded by `before`."""
    x = state.convolve("model.0", x, before)[::2, ::2]
    x = relu(state.normalize("model.1", x))
    x = relu(state.normalize("model.4", pooled(x, 2)))
    for index in (6, 7, 8):
        block, skip = f"model.{index}.conv_block", x
        for i in (0, 3):
            y = state.normalize(f"{block}.{i + 1}", state.convolve(f"{block}.{i}", x))
            x = relu(y)
        if f"model.{index}.shortcut.conv.weight" in state:
            skip = state.convolve(f"model.{index}.shortcut.conv", skip)
            skip = state.normalize(f"model.{index}.shortcut.bn", skip)
        x = x + skip
    heads = []
    for names in (("FCC1.0", "FCC2.0", "outputC.0"), ("FCR1.0", "FCR2.0", "outputR")):
        y = relu(state.convolve(names[1], relu(state.convolve(names[0], x))))
        heads.append(state.convolve(names[2], y))
    displacement = heads[1].reshape(4, 4, landmarks, 2)[..., ::-1]  # from y, x to x, y
    return np.concatenate([heads[0][..., None], displacement], axis=-1)


def test_votes_of_a_global_network():
    landmarks = 3
    network = GlobalNet(landmarks, filters=4, blocks=(1, 2), reductions=2)
    state = global_arrays(landmarks)
    import_weights(network, state)
    found = ops.convert_to_numpy(network(image()))[0]
    expected = votes_of(state, image()[0], landmarks, before=2)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    # As the authors pad, by 3 pixels: the votes of an image moved by one pixel.
    x = image()
    x[:, -1], x[:, :, -1] = 0.0, 0.0
    moved = np.roll(x, 1, axis=(1, 2))
    found = ops.convert_to_numpy(network(moved))[0]
    expected = votes_of(state, x[0], landmarks, before=3)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_global_network_of_volumes_has_plain_skip_connections():
    options = {"filters": 4, "blocks": (1, 2), "reductions": 2}
    network = GlobalNet(2, (None, None, None, 1), **options)
    state = global_arrays(2, rank=3)
    import_weights(network, state)
    skip = network.get_layer("stage_0_0_skip")
    normalization = network.get_layer("stage_0_0_skip_normalization")
    x = np.random.default_rng(2).normal(size=(1, 3, 3, 3, 4)).astype("float32")
    found = ops.convert_to_numpy(normalization(skip(x)))
    kernel = state["model.6.shortcut.conv.weight"][..., 0, 0, 0]
    expected = x @ kernel.T + state["model.6.shortcut.conv.bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def local_arrays(landmarks, filters):
    state = PyTorchArrays()
    for landmark in range(landmarks):
        network = f"regressors.{landmark}"
        channels = 1
        for index, outputs in ((0, 1), (3, 1), (7, 2), (10, 2)):  # pooling is 6
            name = f"{network}.feats.{index}"
            state.convolution(name, 3, channels, outputs * filters)
            channels = outputs * filters
            state.normalization(f"{network}.feats.{index + 1}", channels)
        for head, outputs in (("regress", 2), ("classification", 1)):
            for index in (0, 2):
                state.convolution(f"{network}.{head}.{index}", 1, channels, channels)
            state.convolution(f"{network}.{head}.4", 1, channels, outputs)
    return state


def test_votes_of_local_networks():
    landmarks, size = 2, 8
    layer = LocalRefinement(landmarks, size=size, filters=4, convolutions=2)
    points = np.array([[[4.0, 4.0], [9.0, 6.0]]], "float32")
    layer(image(), points)
    state = local_arrays(landmarks, 4)
    import_weights(layer, state)
    votes = ops.convert_to_numpy(layer(image(), points)["votes"])[0]
    for landmark, (column, row) in enumerate(points[0].astype(int) - size // 2):
        network = f"regressors.{landmark}"
        x = image()[0, row : row + size, column : column + size]
        for index in (0, 3, 7, 10):
            x = pooled(x, 2) if index == 7 else x
            y = state.convolve(f"{network}.feats.{index}", x)
            x = relu(state.normalize(f"{network}.feats.{index + 1}", y))
        for head in ("classification", "regress"):
            y = x
            for index in (0, 2):
                y = relu(state.convolve(f"{network}.{head}.{index}", y))
            y = state.convolve(f"{network}.{head}.4", y)
            expected = votes[..., :1] if head == "classification" else votes[..., :0:-1]
            np.testing.assert_allclose(
                expected[:, :, landmark], y, rtol=1e-3, atol=1e-3
            )


def test_sigmas_of_a_landmark_model():
    network = NETWORKS["conv"][0]()
    target = GaussianHeatmap(3, sigma=2.0, learnable=True)
    model = LandmarkModel(network, target)
    arrays = NETWORKS["conv"][1]()
    import_weights(model, {**arrays, "sigmas:0": np.array([1.5, 2.5, 3.5])})
    np.testing.assert_array_equal(ops.convert_to_numpy(target.sigma), [1.5, 2.5, 3.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("net/downsampling/conv3/bias"), r"missing: \S*conv3/bias\."),
        (lambda a: a.update({"net/extra": np.zeros(2)}), r"not used: net/extra\."),
        (
            lambda a: a.update({"net/downsampling/conv0/bias": np.zeros(2)}),
            r"wrong shape: \S*conv0/bias \(2,\) instead of \(4,\)\.",
        ),
        (
            lambda a: a.update({"net/downsampling/conv0/bias": np.full(4, np.nan)}),
            r"not finite: \S*conv0/bias\.",
        ),
        (lambda a: a.clear(), "missing: downsampling/conv0/kernel, .* and 11 more"),
    ],
)
def test_arrays_that_do_not_fit_leave_the_weights(change, message):
    network, arrays = NETWORKS["conv"][0](), NETWORKS["conv"][1]()
    before = network.get_weights()
    change(arrays)
    with pytest.raises(ValueError, match=message):
        import_weights(network, arrays)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    "model",
    [
        lambda: keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]),
        lambda: SpatialConfigurationNet(3, stride=2, **SMALL, **SPATIAL),
        lambda: LocalRefinement(3),
    ],
)
def test_other_networks_are_rejected(model):
    with pytest.raises(ValueError, match="must be one of the authors' networks"):
        import_weights(model(), {})
