"""Runs whose networks find the brightest blob, so that answers are known."""

import contextlib
import dataclasses
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import GaussianHeatmap
from scn_keras.models import LandmarkModel
from scn_keras.saved_models.exporting.export import export
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.run import Run

GRID = (64, 48)
POINT = (123.4, 210.6)  # of the blob in `png`, x and y


@pytest.fixture(scope="session")
def blob_run(tmp_path_factory):
    """Two landmarks: `bright` is the brightest blob, `dark` the darkest."""
    recipe = Recipe(
        name="blob",
        dataset="synthetic_hand",
        image_to_grid=ImageToGrid(grid=GRID),
        network=Network(levels=1, spatial_factor=1),
    )
    return make_blob_run(tmp_path_factory.mktemp("runs") / "blob", recipe)


@pytest.fixture(scope="session")
def staged_run(tmp_path_factory):
    """From coarse to fine: the grid is laid over what the coarse network finds."""
    coarse = Recipe(
        name="coarse",
        dataset="synthetic_hand",
        image_to_grid=ImageToGrid(grid=(48, 48)),
        network=Network(levels=1, spatial_factor=1),
    )
    recipe = dataclasses.replace(
        coarse,
        name="staged",
        image_to_grid=dataclasses.replace(
            coarse.image_to_grid, grid=GRID, grid_spacing=(1.0, 1.0)
        ),
        coarse=coarse,
    )
    run = make_blob_run(tmp_path_factory.mktemp("runs") / "staged", recipe)
    run.shape_path.write_text("[[0.0, -20.0], [0.0, 20.0]]")
    make_blob_run(run.path / "coarse", recipe.coarse)
    return run


@pytest.fixture(scope="session")
def volume_run(tmp_path_factory):
    """A run that finds the brightest and the darkest blob of a volume."""
    recipe = Recipe(
        name="volume",
        dataset="synthetic_volume",
        image_to_grid=ImageToGrid(grid=(16, 24, 20)),
        network=Network(levels=1, spatial_factor=1),
    )
    return make_blob_run(tmp_path_factory.mktemp("runs") / "volume", recipe)


def make_blob_run(path, recipe):
    """Makes a run with a network that smooths: what is asked for is its top."""
    run = Run.create(path, recipe, LandmarkSchema(("bright", "dark")))
    d = len(recipe.grid)
    image = keras.Input((*[None] * d, 1))
    convolution = (keras.layers.Conv2D, keras.layers.Conv3D)[d - 2]
    heatmaps = convolution(2, 7, padding="same", use_bias=False)(image)
    network = keras.Model(image, heatmaps)
    distance = sum(np.square(a - 3.0) for a in np.mgrid[(slice(7),) * d])
    kernel = np.exp(-distance / (2.0 * 1.5**2))
    kernel = kernel / kernel.sum()
    network.set_weights([np.stack([kernel, -kernel], axis=-1)[..., None, :]])
    # The outside is -1 and the background 0: add nothing, the blob is the top.
    model = LandmarkModel(network, GaussianHeatmap(2, sigma=2.0))
    run.save_model(model)
    return run


@pytest.fixture(scope="session")
def blob_model(blob_run, tmp_path_factory):
    return export(blob_run, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def served(blob_model):
    from scn_keras.saved_models.server.served_model import ServedModel

    with ServedModel(blob_model) as model:
        yield model


@pytest.fixture
def png(tmp_path, draw_blob):
    """A file of 400 x 300 pixels with the blob at `POINT`."""
    path = tmp_path / "blob.png"
    blob = draw_blob((400, 300), POINT, (15.0, 15.0))
    path.write_bytes(tf.io.encode_png(np.uint8(blob * 255)[..., None]).numpy())
    return path


@pytest.fixture(scope="session")
def serve_model():
    """Serves a `ServedModel` as `blob` on a port: `with serve_model(model) as url`."""
    import uvicorn

    from scn_keras.saved_models.server.server import UVICORN_SETTINGS, create_app

    @contextlib.contextmanager
    def serve(model):
        app = create_app(model, "blob")
        config = uvicorn.Config(app, port=0, **UVICORN_SETTINGS)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "The server did not start."
            time.sleep(0.01)
        (socket,) = server.servers[0].sockets
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return serve


@pytest.fixture(scope="session")
def address(served, serve_model):
    """Where `scn-keras serve` listens, with the model `blob`."""
    with serve_model(served) as url:
        yield url


@pytest.fixture
def draw_blob():
    """Draws a bright Gaussian on mid grey, 0 to 1: `draw(size, point, sigma)`."""

    def draw(size, point, sigma):
        height, width = size
        x = np.exp(-np.square(np.arange(width) - point[0]) / (2.0 * sigma[0] ** 2))
        y = np.exp(-np.square(np.arange(height) - point[1]) / (2.0 * sigma[1] ** 2))
        return 0.5 + 0.5 * y[:, None] * x[None, :]

    return draw
