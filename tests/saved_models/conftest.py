"""A run whose network finds the brightest blob, so that answers are known."""

import keras
import numpy as np
import pytest

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import GaussianHeatmap
from scn_keras.models import LandmarkModel
from scn_keras.saved_models.export import export
from scn_keras.training.recipe import Network, Recipe
from scn_keras.training.run import Run

GRID = (64, 48)


@pytest.fixture(scope="session")
def blob_run(tmp_path_factory):
    """Two landmarks: `bright` is the brightest blob, `dark` the darkest."""
    recipe = Recipe(
        name="blob",
        dataset="synthetic_hand",
        grid=GRID,
        network=Network(levels=1, spatial_factor=1),
    )
    schema = LandmarkSchema(("bright", "dark"))
    run = Run.create(tmp_path_factory.mktemp("runs") / "blob", recipe, schema)
    image = keras.Input((None, None, 1))
    heatmaps = keras.layers.Conv2D(2, 7, padding="same", use_bias=False)(image)
    network = keras.Model(image, heatmaps)
    distance = np.square(np.arange(7) - 3.0)
    kernel = np.exp(-(distance[:, None] + distance[None, :]) / (2.0 * 1.5**2))
    kernel = kernel / kernel.sum()
    network.set_weights([np.stack([kernel, -kernel], axis=-1)[:, :, None, :]])
    # The outside is -1 and the background 0: add nothing, the blob is the top.
    model = LandmarkModel(network, GaussianHeatmap(2, sigma=2.0))
    model.save(run.model_path)
    return run


@pytest.fixture(scope="session")
def blob_model(blob_run, tmp_path_factory):
    return export(blob_run, tmp_path_factory.mktemp("models"))


@pytest.fixture
def draw_blob():
    """Draws a bright Gaussian on mid grey, 0 to 1: `draw(size, point, sigma)`."""

    def draw(size, point, sigma):
        height, width = size
        x = np.exp(-np.square(np.arange(width) - point[0]) / (2.0 * sigma[0] ** 2))
        y = np.exp(-np.square(np.arange(height) - point[1]) / (2.0 * sigma[1] ** 2))
        return 0.5 + 0.5 * y[:, None] * x[None, :]

    return draw
