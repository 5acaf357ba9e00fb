"""Feature maps inside a network, one layer for each resolution."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from scn_keras.models._node_in_network import node_in_network
from scn_keras.pictures import NetworkNode, network_graph

_CHANNELS = 4


class FeatureMaps(NamedTuple):
    """Some channels of one layer.

    Attributes:
        name: Str, the name of the layer.
        channels: Tuple of int, the channels with the largest standard deviation.
        total: Int, the number of all channels.
        maps: Array `(*spatial, channels)`, these channels.
    """

    name: str
    channels: tuple[int, ...]
    total: int
    maps: np.ndarray


def feature_maps(network: keras.Model, image: np.ndarray) -> list[FeatureMaps]:
    """Computes the last features of each resolution that precede the heatmaps.

    Args:
        network: Functional Keras model, such as `LandmarkModel.network`.
        image: Array `(*grid, channels)`, its input.

    Returns:
        List of `FeatureMaps`, the finest first; empty for networks without convolutions
        before their heatmaps.
    """
    nodes = network_graph(network, image.shape[:-1])
    paths = _last_of_each_size(nodes)
    tensors = {path: _tensor(network, path) for path in paths}
    found = {path: tensor for path, tensor in tensors.items() if tensor is not None}
    if not found:
        return []
    outputs = keras.Model(network.inputs, list(found.values()))([image[None]])
    return [
        _strongest(path, keras.ops.convert_to_numpy(output)[0])
        for path, output in zip(found, outputs, strict=True)
    ]


def _last_of_each_size(nodes: Sequence[NetworkNode]) -> list[str]:
    """Returns the layers, by the first two parts of their names."""
    products = [node for node in nodes if node.kind == "product"]
    # The factors of a product are heatmaps, and so is what lies behind the first.
    factors = {source for node in products for source in node.inputs}
    heatmaps = factors or {len(nodes) - 1}
    last: dict[tuple[int, ...], str] = {}
    for number, node in enumerate(nodes[: min(heatmaps) + 1]):
        if node.kind == "convolution" and number not in heatmaps:
            last[node.size] = "/".join(node.name.split("/")[:2])
    sizes = sorted(last, key=np.prod, reverse=True)
    return [last[size] for size in sizes]


def _tensor(network: keras.Model, path: str) -> Any:
    """Returns the symbolic output of a layer, also of one inside another layer."""
    outer, _, inner = path.partition("/")
    layer = network.get_layer(outer)
    node = node_in_network(network, layer)
    if not inner:
        return node.outputs[0]
    inputs = node.input_tensors
    known = {id(tensor) for tensor in inputs}
    # Called without the layer's node, so that its own layers become part of the graph.
    pending = keras.tree.flatten(layer.call(*inputs))
    while pending:
        tensor = pending.pop()
        if id(tensor) in known:
            continue
        known.add(id(tensor))
        operation, number, _ = tensor._keras_history
        if operation.name == inner:
            return tensor
        pending += operation._inbound_nodes[number].input_tensors
    return None


def _strongest(name: str, maps: np.ndarray) -> FeatureMaps:
    deviations = maps.reshape(-1, maps.shape[-1]).std(axis=0)
    channels = sorted(np.argsort(-deviations, kind="stable")[:_CHANNELS].tolist())
    return FeatureMaps(name, tuple(channels), maps.shape[-1], maps[..., channels])
