"""Images that are longer than the grid, in a graph as by the locator."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from scn_keras.inference import Locator
from scn_keras.layers import HeatmapPeak
from scn_keras.saved_models.exporting.tiled_graph import TiledGraphLocator
from tests.inference.test_locator import dataset
from tests.inference.test_tiles import SPACING, image, settings


@keras.saving.register_keras_serializable(package="test")
class BothSigns(keras.layers.Layer):
    """A bright landmark and a dark one."""

    def call(self, x):
        return keras.ops.relu(keras.ops.concatenate([x, -x], axis=-1))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 2)


class Model:
    def __init__(self):
        x = keras.Input((None, None, None, 1))
        self.network = keras.Model(x, BothSigns()(x))
        self.target = types.SimpleNamespace(height=lambda: 1.0)
        self.localizer = keras.Model(x, HeatmapPeak()(self.network.output))


@pytest.mark.parametrize("axes", ["stored", "patient"])
def test_a_graph_gives_the_points_of_the_locator(axes):
    locator = Locator(Model(), settings(axes=axes))
    images = [image(128, [5, 6, 9], [6, 5, 119]), image(128, [6, 5, 60], [5, 6, 100])]
    # The second one is of half the length in mm: two tiles instead of three.
    affines = [SPACING, np.diag([0.5, 0.5, 0.18, 1.0])]
    if axes == "patient":  # stored upside down
        images = [one[::-1] for one in images]
        affines = [affine @ np.diag([1, 1, -1, 1]) for affine in affines]
    expected = [
        next(iter(locator.locate(dataset([one], affine))))
        for one, affine in zip(images, affines, strict=True)
    ]
    graph = TiledGraphLocator(locator)

    @tf.function
    def call(image, affine):
        on_grid = graph.from_arrays(image, affine)
        return graph.locate(*on_grid), graph.heatmaps(*on_grid)

    found, heatmaps = call(
        tf.constant(np.stack(images)), tf.constant(np.float32(affines))
    )
    for number, one in enumerate(expected):
        for name in ("points_px", "points_mm", "score", "covariance_px2"):
            np.testing.assert_allclose(
                found[name][number], one[name], rtol=1e-4, atol=1e-3
            )
        np.testing.assert_allclose(
            heatmaps["grid_to_source"][number], one["grid_to_source"], atol=1e-3
        )
        grey = np.maximum(one["grid_image"], 0.0)[..., 0]
        np.testing.assert_allclose(heatmaps["product"][number][..., 0], grey, atol=1e-4)


def test_the_network_runs_once_for_each_tile():
    model, calls = Model(), []
    network = model.localizer

    def counted(images, training):
        calls.append(1)
        return network(images, training=training)

    model.localizer = counted
    graph = TiledGraphLocator(Locator(model, settings()))
    on_grid = graph.from_arrays(
        tf.constant(image(128, [5, 6, 9], [6, 5, 119])[None]),
        tf.constant(np.float32(SPACING)[None]),
    )
    tf.function(graph.locate)(*on_grid)  # its body is traced once for all tiles
    assert len(calls) == 1
