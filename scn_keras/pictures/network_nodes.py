"""The graph of a network's layers, traced from the built model."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras

from scn_keras.pictures._layer_facts import LayerFacts, facts_of
from scn_keras.pictures._receptive_field import receptive_fields


@dataclasses.dataclass(frozen=True)
class NetworkNode:
    """One call of a layer or an operation in a network.

    Attributes:
        name: Str, the names of the enclosing layers and of the layer, joined by `/`.
        kind: Str: `"input"`, `"convolution"`, `"pooling"`, `"upsampling"`, `"sum"`,
            `"concatenation"`, `"product"`, `"pixelwise"` (dropout, activations,
            normalisation), `"padding"` or `"other"`.
        inputs: Tuple of int, the indices of the nodes that it reads.
        group: Tuple of str, the names of the layers that contain it, the outermost
            first.
        size: Tuple of int, the spatial sizes of its output in array order.
        channels: Int, the number of channels of its output.
        field: Tuple of int, the size of its receptive field in pixels of the image, in
            array order, or `None` if it is unknown.
        parameters: Int, the number of parameters. Calls of a shared layer after the
            first have 0.
        kernel: Tuple of int, the size of the kernel or the factor; empty for others.
        activation: Str, the name of the activation within the layer, or `""`.
    """

    name: str
    kind: str
    inputs: tuple[int, ...]
    group: tuple[str, ...]
    size: tuple[int, ...]
    channels: int
    field: tuple[int, ...] | None
    parameters: int
    kernel: tuple[int, ...] = ()
    activation: str = ""


def network_graph(
    network: keras.Model, grid: Sequence[int] | None = None
) -> tuple[NetworkNode, ...]:
    """Returns the graph of all calls of layers and operations in a network.

    Layers that consist of other layers (`LocalAppearance`, `UNet`, nested models and
    user-defined layers) are resolved into these by calling them on symbolic tensors.
    The graph is therefore that of the built model, for any settings.

    Args:
        network: Functional Keras model with one input, the image, such as
            `LandmarkModel.network`.
        grid: Sequence of int, the sizes of the image in array order; `None` for those
            of the input of the network.

    Returns:
        Tuple of `NetworkNode` in topological order: each node comes after its inputs.

    Raises:
        ValueError: If the sizes of the image are unknown.

    Example:

    >>> network = scn_keras.models.SpatialConfigurationNet(
    ...     5, (64, 64, 1), filters=8, spatial_kernel_size=5, spatial_factor=8
    ... )
    >>> nodes = scn_keras.pictures.network_graph(network)
    >>> nodes[-1].kind, nodes[-1].channels
    ('product', 5)
    >>> sum(node.parameters for node in nodes) == network.count_params()
    True
    """
    shape = tuple(network.inputs[0].shape)
    sizes = tuple(grid) if grid is not None else shape[1:-1]
    if any(size is None for size in sizes) or len(sizes) != len(shape) - 2:
        raise ValueError(
            f"The drawing of a network requires the {len(shape) - 2} sizes of its "
            f"image. Received: grid={grid}, input shape={shape}"
        )
    tracer = _Tracer(len(sizes))
    image = keras.Input((*sizes, shape[-1]), name="image")
    tracer.add("image", facts_of(None, (), image), (), (), tuple(image.shape), 0)
    tracer.resolve(network, [image], [0], ())
    return tracer.nodes(sizes)


class _Tracer:
    """Collects nodes while layers are called on symbolic tensors."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._nodes: list[dict[str, Any]] = []
        self._reaches: list[Any] = []
        self._counted: set[int] = set()

    def add(
        self,
        name: str,
        facts: LayerFacts,
        inputs: Sequence[int],
        group: tuple[str, ...],
        shape: Sequence[Any],
        parameters: int,
    ) -> int:
        """Appends a node and returns its index."""
        self._reaches.append(facts.reach(self._rank))
        self._nodes.append(
            {
                "name": "/".join((*group, name)),
                "kind": facts.kind,
                "inputs": tuple(dict.fromkeys(inputs)),
                "group": group,
                "size": tuple(shape[1 : 1 + self._rank]),
                "channels": shape[1 + self._rank] if len(shape) > 1 + self._rank else 1,
                "parameters": parameters,
                "kernel": facts.kernel,
                "activation": facts.activation,
            }
        )
        return len(self._nodes) - 1

    def nodes(self, sizes: Sequence[int]) -> tuple[NetworkNode, ...]:
        """Returns all nodes with their receptive fields."""
        scales = [
            [part / whole for part, whole in zip(node["size"], sizes, strict=False)]
            for node in self._nodes
        ]
        inputs = [node["inputs"] for node in self._nodes]
        fields = receptive_fields(inputs, self._reaches, scales)
        return tuple(
            NetworkNode(**node, field=field)
            for node, field in zip(self._nodes, fields, strict=True)
        )

    def resolve(
        self,
        layer: Any,
        tensors: Sequence[Any],
        sources: Sequence[int],
        group: tuple[str, ...],
    ) -> list[int]:
        """Adds the nodes inside a layer; returns the indices of its outputs.

        Args:
            layer: Layer or model.
            tensors: Symbolic inputs of the layer.
            sources: The nodes that produce these inputs.
            group: The names of the enclosing layers.
        """
        inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype) for t in tensors]
        outputs = layer.call(*inputs)
        known = {id(t): source for t, source in zip(inputs, sources, strict=True)}
        return [self._index(t, known, group) for t in keras.tree.flatten(outputs)]

    def _index(self, tensor: Any, known: dict[int, int], group: tuple[str, ...]) -> int:
        """Returns the node of a tensor, whose ancestors are added before it."""
        # Not recursive, since some networks are deeper than Python's stack allows.
        pending = [tensor]
        while pending:
            current = pending[-1]
            if id(current) in known:
                pending.pop()
                continue
            operation, number, _ = current._keras_history
            node = operation._inbound_nodes[number]
            missing = [t for t in node.input_tensors if id(t) not in known]
            if missing:
                pending += missing
                continue
            pending.pop()
            sources = [known[id(t)] for t in node.input_tensors]
            indices = self._call(operation, node, sources, group)
            for output, index in zip(node.output_tensors, indices, strict=True):
                known[id(output)] = index
        return known[id(tensor)]

    def _call(
        self, operation: Any, node: Any, sources: list[int], group: tuple[str, ...]
    ) -> list[int]:
        """Adds the nodes of one call; returns the indices of its outputs."""
        outputs = node.output_tensors
        if type(operation).__name__ == "ConvertToTensor":  # by which models begin
            return [sources[0]] * len(outputs)
        if _consists_of_layers(operation):
            count = len(self._nodes)
            try:
                inner = (*group, operation.name)
                indices = self.resolve(operation, node.input_tensors, sources, inner)
                if len(indices) == len(outputs) and len(self._nodes) > count:
                    return indices
            except Exception:  # of a user-defined layer with other arguments
                pass
            del self._nodes[count:], self._reaches[count:]
        facts = facts_of(operation, node.input_tensors, outputs[0])
        name, parameters = self._name(operation, group), self._parameters(operation)
        index = self.add(name, facts, sources, group, outputs[0].shape, parameters)
        return [index] * len(outputs)

    def _name(self, operation: Any, group: tuple[str, ...]) -> str:
        if isinstance(operation, keras.Layer):
            return operation.name
        # Keras numbers operations in the order in which a process creates them.
        name = type(operation).__name__.lower()
        known = {node["name"] for node in self._nodes}
        names = (name if n == 0 else f"{name}_{n}" for n in itertools.count())
        return next(n for n in names if "/".join((*group, n)) not in known)

    def _parameters(self, operation: Any) -> int:
        if id(operation) in self._counted or not isinstance(operation, keras.Layer):
            return 0
        self._counted.add(id(operation))
        return operation.count_params()


def _consists_of_layers(operation: Any) -> bool:
    """Returns whether a layer is resolved into the layers that it consists of."""
    if isinstance(operation, keras.Model):
        return True
    # Layers of Keras are units, also if their activation is a layer.
    own = not type(operation).__module__.startswith("keras.")
    return own and bool(getattr(operation, "_layers", None))
