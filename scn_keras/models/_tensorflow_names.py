"""Names of the weights of Payer et al.'s networks in their TensorFlow checkpoints."""

import re

import numpy as np

from scn_keras.models._stored_weight import StoredWeight, same
from scn_keras.models.convolutional_net import ConvolutionalNet
from scn_keras.models.localization_unet import LocalizationUNet
from scn_keras.models.spatial_configuration_net import SpatialConfigurationNet

# Slots of optimisers, counters, and the targets' sigmas and rotations.
OTHER_ARRAYS = re.compile(
    r"(^|/)(Momentum|Adam(_1)?|beta[12]_power|global_step|Variable(_\d+)?|save_counter"
    r"|sigmas|rotation|_CHECKPOINTABLE_OBJECT_GRAPH)$|^optimizer/|\.OPTIMIZER_SLOT"
)


def tensorflow_weights(network):
    """Returns the `StoredWeight`s of a network of Payer et al., or `None` for others.

    Names are relative to the variable scope of the network.
    """
    layers = {layer.name: layer for layer in network.layers}
    if isinstance(network, SpatialConfigurationNet):
        return _spatial_configuration_net(layers)
    if isinstance(network, LocalizationUNet):
        return _localization_unet(layers)
    if isinstance(network, ConvolutionalNet):
        return _convolutional_net(network, layers)
    if not {"features", "local_appearance", "spatial_configuration"} <= set(layers):
        return None
    spatial = layers["spatial_configuration"]
    if not spatial.own_heatmap:
        return _miccai2016(layers)
    if spatial.network is not None:
        return _verse2020(layers)
    return _verse2019(layers) if "stem" in layers else _mmwhs(layers)


def _spatial_configuration_net(layers):
    local = layers["local_appearance"]
    weights = _convolution(local.stem, "conv0")
    for level in range(local.levels):
        for i, part in enumerate((local.first, local.second)):
            weights += _convolution(part[level], f"contracting/level{level}/conv_{i}")
        weights += _convolution(local.parallel[level], f"parallel/level{level}/conv")
    weights += _convolution(local.head, "local_heatmaps")
    return weights + _spatial(layers, "sconv", "spatial_downsampled")


def _localization_unet(layers):
    # The network for the spine, which has a stem, is not in a scope of its own.
    if "stem" in layers:
        scope, weights = "", _convolution(layers["stem"].hidden[0], "conv0")
    else:
        scope, weights = "unet/", []
    weights += _unet(layers["features"], scope)
    return weights + _convolution(layers["heatmaps"], f"{scope}heatmaps")


def _convolutional_net(network, layers):
    weights = []
    levels = [layer for name, layer in layers.items() if name.startswith("level_")]
    for level, block in enumerate(levels):
        # The network of one level has no scopes of levels.
        scope = f"level{level}/" if len(levels) > 1 else ""
        for i, layer in enumerate(block.hidden):
            weights += _convolution(layer, f"downsampling/{scope}conv{i}")
    return weights + _convolution(layers["heatmaps"], "downsampling/heatmaps")


def _miccai2016(layers):
    weights, scope = [], "local_appearance"
    for i, layer in enumerate(layers["features"].hidden):
        weights += _convolution(layer, f"{scope}/conv{i + 1}")
    weights += _convolution(layers["local_appearance"], f"{scope}/local_heatmaps")
    head = layers["spatial_configuration"].head
    *size, others, landmarks = head.kernel.shape
    names = [f"spatial_configuration/h_acc_{i}" for i in range(landmarks)]
    kernels = {f"{name}/kernel": (*size, others, 1) for name in names}
    biases = {f"{name}/bias": (1,) for name in names}
    return [
        *weights,
        StoredWeight(head.kernel, kernels, _kernel_of_others),
        StoredWeight(head.bias, biases, lambda *arrays: np.concatenate(arrays)),
    ]


def _kernel_of_others(*kernels):
    """Returns the kernel of `OtherHeatmaps` from one kernel for each landmark.

    The kernel of a landmark has the heatmaps of all others as input, in their order.
    The stored kernel has the elements of the matrix of inputs and outputs, row after
    row and without its diagonal.
    """
    landmarks = len(kernels)
    size = kernels[0].shape[:-2]
    whole = np.zeros((*size, landmarks, landmarks), kernels[0].dtype)
    for i, kernel in enumerate(kernels):
        others = [j for j in range(landmarks) if j != i]
        whole[..., others, i] = kernel[..., 0]
    off_diagonal = whole[..., ~np.eye(landmarks, dtype=bool)]
    return off_diagonal.reshape(*size, landmarks - 1, landmarks)


def _mmwhs(layers):
    weights = _unet(layers["features"], "unet/")
    weights += _convolution(layers["local_appearance"], "unet/local_prediction")
    scope = "spatial_configuration"
    return weights + _spatial(
        layers, f"{scope}/scconv", f"{scope}/spatial_prediction_pool"
    )


def _verse2019(layers):
    weights = _convolution(layers["stem"].hidden[0], "conv0")
    weights += _unet(layers["features"], "")
    weights += _convolution(layers["local_appearance"], "local_heatmaps")
    return weights + _spatial(layers, "sconv", "spatial_downsampled")


def _verse2020(layers):
    # The only one in TensorFlow 2: paths of attributes. Layers of a block are numbered
    # with the dropout after each convolution.
    spatial, weights = layers["spatial_configuration"], []
    for unet, name in (
        (layers["features"], "scnet_local"),
        (spatial.network, "scnet_spatial"),
    ):
        for path in ("contracting", "expanding"):
            for level, block in enumerate(getattr(unet, path)):
                for i, layer in enumerate(block.hidden):
                    place = f"{name}/{path}_layers/level{level}/layers/{2 * i}"
                    weights += _convolution(layer, place)
    weights += _convolution(layers["local_appearance"], "local_heatmaps/layers/0")
    return weights + _convolution(spatial.head, "spatial_heatmaps")


def _unet(layer, scope):
    weights = []
    for path in ("contracting", "expanding"):
        for level, block in enumerate(getattr(layer, path)):
            for i, convolution in enumerate(block.hidden):
                name = f"{scope}{path}/level{level}/conv{i}"
                weights += _convolution(convolution, name)
    return weights


def _spatial(layers, hidden, head):
    layer, weights = layers["spatial_configuration"], []
    for i, convolution in enumerate(layer.hidden):
        weights += _convolution(convolution, f"{hidden}{i}")
    return weights + _convolution(layer.head, head)


def _convolution(layer, name):
    return [same(layer.kernel, f"{name}/kernel"), same(layer.bias, f"{name}/bias")]
