"""A layer with which networks were built twice, as by repeating a notebook cell."""

import keras
import numpy as np
import pytest
from keras import ops

from scn_keras.layers import SpatialConfiguration
from scn_keras.models import with_spatial_configuration
from scn_keras.models._node_in_network import node_in_network


def features():
    image = keras.Input((8, 12, 1))
    return keras.Model(image, keras.layers.Conv2D(4, 3, padding="same")(image))


@pytest.fixture
def networks():
    layer = SpatialConfiguration(
        filters=4, kernel_size=3, factor=4, name="spatial_configuration"
    )
    return [with_spatial_configuration(features(), 3, layer) for _ in range(2)]


def test_each_network_has_its_own_node(networks):
    image = np.random.default_rng(0).normal(size=(1, 8, 12, 1)).astype("float32")
    layer = networks[0].get_layer("spatial_configuration")
    for network in networks:
        node = node_in_network(network, layer)
        tensors = [*node.input_tensors, *node.outputs]
        local, spatial = keras.Model(network.input, tensors)(image)
        np.testing.assert_allclose(
            ops.convert_to_numpy(local * spatial),
            ops.convert_to_numpy(network(image)),
            rtol=1e-5,
        )


def test_a_layer_of_another_network_is_refused(networks):
    other = networks[1].layers[1]
    with pytest.raises(ValueError, match="must be part of the network"):
        node_in_network(networks[0], other)


def test_the_heatmaps_of_the_second_network_are_drawn_and_judged(networks):
    """Before, `layer.output` was that of the first, and the training stopped."""
    from scn_keras.models import LandmarkModel

    pictures = pytest.importorskip("scn_keras.pictures.heatmap_figure")
    image = np.random.default_rng(0).normal(size=(8, 12, 1)).astype("float32")
    maps = pictures.inner_heatmaps(LandmarkModel(networks[1]), image)
    np.testing.assert_allclose(
        maps["local appearance"] * maps["spatial configuration"],
        maps["product"],
        rtol=1e-5,
    )
