import re
import xml.etree.ElementTree as ElementTree

import keras
import numpy as np
import pytest

from scn_keras.models import (
    GlobalNet,
    LocalizationUNet,
    SpatialConfigurationNet,
    scn_miccai2016,
    scn_verse2020,
)
from scn_keras.pictures import draw_network, network_graph
from scn_keras.pictures._network_layout import layout

SVG = "{http://www.w3.org/2000/svg}"


def scn(levels=3, filters=4, **settings):
    return SpatialConfigurationNet(
        5,
        (*[32] * settings.pop("rank", 2), 1),
        filters=filters,
        levels=levels,
        spatial_kernel_size=3,
        spatial_factor=8,
        **settings,
    )


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_nodes_and_edges_are_those_of_the_paper(levels):
    nodes = network_graph(scn(levels))
    count = {}
    for node in nodes:
        key = node.group[0] if node.group else "", node.kind
        count[key] = count.get(key, 0) + 1
    # Each level has two convolutions and a parallel one; also the first and the head.
    local, spatial = "local_appearance", "spatial_configuration"
    expected = {
        ("", "input"): 1,
        (local, "convolution"): 3 * levels + 2,
        (local, "pixelwise"): levels,  # dropout
        (local, "pooling"): levels - 1,
        (local, "upsampling"): levels - 1,
        (local, "sum"): levels - 1,
        (spatial, "pooling"): 1,
        (spatial, "convolution"): 4,
        (spatial, "upsampling"): 1,
        ("", "product"): 1,
    }
    assert count == {key: n for key, n in expected.items() if n}
    # One edge into each node but the image, and a second into sums and the product.
    edges = sum(len(node.inputs) for node in nodes)
    assert edges == len(nodes) - 1 + (levels - 1) + 1
    assert nodes[-1].inputs == (
        next(i for i, n in enumerate(nodes) if n.name == f"{local}/head"),
        next(i for i, n in enumerate(nodes) if n.name == f"{spatial}/up"),
    )


@pytest.mark.parametrize(
    ("network", "grid"),
    [
        (lambda: scn(filters=6), None),
        (lambda: scn(levels=2, rank=3, padding="reflect", stride=2), None),
        (lambda: LocalizationUNet(5, filters=4, levels=3), (32, 16)),
        (lambda: GlobalNet(5, filters=2, blocks=(1, 1, 1, 1)), (64, 32)),
        (lambda: scn_miccai2016(5, (32, 32, 1)), None),
        (lambda: scn_verse2020(5, filters=2, levels=2), (16, 16, 8)),
    ],
)
def test_parameters_and_sizes_are_those_of_the_network(network, grid):
    network = network()
    nodes = network_graph(network, grid)
    assert sum(node.parameters for node in nodes) == network.count_params()
    sizes = grid or tuple(network.inputs[0].shape[1:-1])
    expected = network.compute_output_shape((1, *sizes, 1))
    assert (*nodes[-1].size, nodes[-1].channels) == tuple(expected[1 : len(sizes) + 2])
    # No layer is lost or counted twice when they are merged into boxes.
    boxes = layout(nodes)
    assert sum(len(box.nodes) for box in boxes) == len(nodes)
    assert {n.name for box in boxes for n in box.nodes} == {n.name for n in nodes}
    for box in boxes:
        assert all(boxes[source].column < box.column for source in box.inputs)
    positions = [(box.column, box.row, box.lane) for box in boxes]
    assert len(set(positions)) == len(positions)


def measured_fields(network, name, size):
    """The largest distance of pixels on which one output depends, by impulses."""
    layer = keras.Model(network.inputs, network.get_layer(name).output)
    for weight in layer.weights:
        is_kernel = len(weight.shape) > 1
        weight.assign(np.full(weight.shape, 0.1 if is_kernel else 0.0, "float32"))
    images = np.zeros((size, size, 8, 1), "float32")
    images[np.arange(size), np.arange(size)] = 1.0  # a line, along the second axis
    outputs = np.asarray(keras.ops.convert_to_numpy(layer([images])))
    reached = np.abs(outputs).max(axis=(2, 3)) > 0  # (line, position)
    first = reached.argmax(axis=0)
    last = size - 1 - reached[::-1].argmax(axis=0)
    middle = len(first) // 2
    return (last - first + 1)[middle - 8 : middle + 8].max()


@pytest.mark.parametrize(
    "name", ["local_appearance", "spatial_configuration", "reduction"]
)
def test_receptive_fields_are_those_of_impulses(name):
    network = SpatialConfigurationNet(
        2,
        (None, 8, 1),
        filters=2,
        levels=2,
        spatial_kernel_size=3,
        spatial_factor=4,
        stride=2,
        heatmap_initializer=0.1,
    )
    nodes = network_graph(network, (160, 8))
    field = [node for node in nodes if f"{name}/" in f"{node.name}/"][-1].field
    assert field[0] == measured_fields(network, name, 160)


def test_receptive_field_of_global_net():
    network = GlobalNet(5, filters=4, blocks=(1, 1, 1, 1))
    nodes = network_graph(network, (64, 64))
    (head,) = (node for node in nodes if node.name == "presence")
    assert head.field == (network.receptive_field, network.receptive_field)
    # What the layer that combines the votes reads is unknown.
    assert nodes[-1].kind == "other" and nodes[-1].field is None


def test_networks_of_others_are_drawn():
    class Own(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="own")
            self.inner = keras.layers.Conv2D(3, 5, padding="same", name="inner")

        def build(self, shape):
            self.inner.build(shape)
            self.built = True

        def call(self, x):
            return keras.ops.tanh(self.inner(x))

    image = keras.Input((None, None, 1))
    x = Own()(image)
    network = keras.Model(image, keras.layers.Conv2D(2, 1, strides=2)(x))
    nodes = network_graph(network, (8, 12))
    assert [node.kind for node in nodes] == [
        *("input", "convolution", "pixelwise", "convolution")
    ]
    assert [node.group for node in nodes] == [(), ("own",), ("own",), ()]
    assert nodes[-1].size == (4, 6) and nodes[-1].field == (5, 5)
    with pytest.raises(ValueError, match="requires the 2 sizes"):
        network_graph(network)


def test_the_drawing_has_every_layer_and_edge():
    network = scn()
    nodes = network_graph(network)
    text = draw_network(network, title="a < b")
    root = ElementTree.fromstring(text)
    boxes = layout(nodes)
    drawn = [g for g in root.iter(f"{SVG}g") if g.get("class") == "node"]
    assert len(drawn) == len(boxes) == len(nodes) - 3  # dropout is part of its layer
    edges = [e for e in root.iter(f"{SVG}path") if e.get("class") == "edge"]
    assert len(edges) == sum(len(box.inputs) for box in boxes)
    names = "\n".join(g.find(f"{SVG}title").text for g in drawn)
    for node in nodes:
        assert node.name.replace("/", " / ") in names
    frames = [e.text for e in root.iter(f"{SVG}text") if e.get("class") == "title"]
    assert frames == [
        f"a < b: {network.count_params():,} parameters",
        *("local appearance", "spatial configuration"),
    ]
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert text == draw_network(network, title="a < b")
    heatmaps = [e for e in root.iter() if e.get("class") == "heatmaps"]
    assert len(heatmaps) == 3  # the two factors, and the legend
