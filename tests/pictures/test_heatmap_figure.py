import keras
import matplotlib
import numpy as np
import scipy.ndimage

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel, SpatialConfigurationNet
from scn_keras.pictures import draw_heatmaps, inner_heatmaps, to_png
from scn_keras.pictures.style import PREDICTED, TRUE

SCHEMA = LandmarkSchema(("tip", "base", "side"), links=((0, 1),))


def test_inner_heatmaps_multiply_to_the_output():
    network = SpatialConfigurationNet(
        5, (48, 32, 1), filters=4, levels=3, spatial_factor=8
    )
    image = np.random.default_rng(0).normal(size=(48, 32, 1)).astype("float32")
    stages = inner_heatmaps(LandmarkModel(network), image)
    assert list(stages) == ["local appearance", "spatial configuration", "product"]
    output = keras.ops.convert_to_numpy(network(image[None]))[0]
    assert output.shape == (48, 32, 5)
    largest = np.abs(output).max()
    np.testing.assert_allclose(stages["product"], output, atol=1e-5 * largest)
    product = stages["local appearance"] * stages["spatial configuration"]
    np.testing.assert_allclose(product, output, atol=1e-5 * largest)


def test_heatmap_panels():
    # Two landmarks; the first is negative in both factors, where both are strong.
    maps = np.zeros((30, 20, 2), np.float32)
    maps[8, 5, 0] = -2.0
    maps[20, 15, 1] = 3.0
    spatial = np.zeros_like(maps)
    spatial[8:20, 5, 0] = -0.5
    spatial[20, 5:16, 1] = 0.5
    heatmaps = {
        "local appearance": maps,
        "spatial configuration": spatial,
        "product": maps * spatial,
    }
    image = np.full((30, 20, 1), -1.0, np.float32)
    schema = LandmarkSchema(("a", "b"), colors=("#ff0000", "#00ff00"))
    drawing = draw_heatmaps(image, heatmaps, schema)
    assert [axes.get_title() for axes in drawing.axes] == list(heatmaps)
    for axes, rows in zip(drawing.axes, (8, slice(8, 20), 8), strict=True):
        layer = axes.images[1].get_array()
        assert np.all(layer[rows, 5] == (1.0, 0.0, 0.0, 1.0))
        assert np.all(layer[20, 15] == (0.0, 1.0, 0.0, 1.0))
        assert np.all(layer[2, 2, 3] == 0.0)

    drawing = draw_heatmaps(image, heatmaps, schema, landmark=0)
    colors = [TRUE, TRUE, PREDICTED]  # negative twice
    for axes, color in zip(drawing.axes, colors, strict=True):
        layer = axes.images[1].get_array()
        assert np.allclose(layer[8, 5], (*matplotlib.colors.to_rgb(color), 1.0))
        assert np.all(layer[20, 15, 3] == 0.0)
    assert drawing.axes[0].get_title() == "local appearance, -2 to 0"


def test_dead_heatmaps_are_drawn():
    heatmaps = {
        name: np.zeros((30, 20, 3), np.float32)
        for name in ("local appearance", "spatial configuration", "product")
    }
    for landmark in (None, 1):
        drawing = draw_heatmaps(
            np.zeros((30, 20, 1)), heatmaps, SCHEMA, landmark, width=3.0
        )
        assert to_png(drawing).startswith(b"\x89PNG")


def test_heatmaps_of_a_volume_are_drawn_on_the_slice_of_the_peak():
    maps = np.zeros((12, 30, 20, 1), np.float32)
    maps[7, 8, 5] = 2.0
    image = np.zeros((12, 30, 20, 1), np.float32)
    schema = LandmarkSchema(("a",))
    for landmark in (None, 0):
        drawing = draw_heatmaps(
            image, {"heatmaps": maps}, schema, landmark, np.array([[5.0, 8.0, 7.0]])
        )
        (axes,) = drawing.axes
        layer = axes.images[1].get_array()
        assert layer[8, 5, 3] == 1.0
        assert layer[..., 3].sum() == 1.0


def test_inner_heatmaps_of_a_network_without_the_two_parts():
    image = keras.Input((8, 8, 1))
    model = LandmarkModel(keras.Model(image, keras.layers.Conv2D(2, 1)(image)))
    stages = inner_heatmaps(model, np.ones((8, 8, 1), np.float32))
    assert {name: maps.shape for name, maps in stages.items()} == {
        "heatmaps": (8, 8, 2)
    }


def test_inner_heatmaps_coarser_than_the_image_are_enlarged():
    network = SpatialConfigurationNet(
        2, (32, 16, 1), filters=4, levels=2, spatial_factor=4, stride=2
    )
    image = np.random.default_rng(0).normal(size=(32, 16, 1)).astype("float32")
    stages = inner_heatmaps(LandmarkModel(network), image)
    assert [maps.shape for maps in stages.values()] == [(32, 16, 2)] * 3
    product = np.asarray(network(image[None]))[0]
    expected = scipy.ndimage.zoom(
        product, (2, 2, 1), order=1, mode="nearest", grid_mode=True
    )
    np.testing.assert_allclose(
        stages["product"], expected, atol=1e-5 * np.abs(product).max()
    )
