"""Exports of networks as they are trained: those of other tests are one convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.exporting.export import export
from scn_keras.saved_models.exporting.parity import check
from scn_keras.training.build import build_model
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Refinement
from scn_keras.training.run import Run

SCN = {"filters": 4, "levels": 2, "spatial_factor": 4}
VOTES = {"kind": "GlobalNet", "filters": 2, "blocks": (1, 1), "reductions": 2}
OF_VOTES = {"loss": "patches", "peak": "votes"}
RECIPES = {
    "scn": {"network": Network(**SCN, stride=2)},
    "refined scn": {"network": Network(**SCN, stride=2), "local": Refinement(8, 2, 1)},
    "votes": {"network": Network(**VOTES), "local": Refinement(8, 2, 1), **OF_VOTES},
    "scn of volumes": {"grid": (16, 24, 16), "network": Network(**SCN)},
    "votes of volumes": {
        **{"grid": (16, 24, 16), "network": Network(**VOTES)},
        **{"local": Refinement(8, 2, 1), **OF_VOTES},
    },
}


@pytest.fixture(scope="module", params=RECIPES)
def run(request, tmp_path_factory):
    settings = {"grid": (64, 48), **RECIPES[request.param]}
    settings["image_to_grid"] = ImageToGrid(grid := settings.pop("grid"))
    d = len(grid)
    dataset = "synthetic_volume" if d == 3 else "synthetic_hand"
    recipe = Recipe(name="real", dataset=dataset, **settings)
    run = Run.create(
        tmp_path_factory.mktemp("runs") / "run", recipe, LandmarkSchema(("a", "b"))
    )
    keras.utils.set_random_seed(1)
    model = build_model(recipe, 2)
    if settings["network"].kind == "SpatialConfigurationNet":
        # It starts near zero; of noise that small, runtimes agree by chance alone.
        network = model.network
        network.set_weights([40.0 * weight for weight in network.get_weights()])
    run.save_model(model)
    return run


def test_every_runtime_finds_the_points_of_the_run(run, tmp_path):
    path = export(run, tmp_path)
    rows = {row.runtime: row for row in check(run, path)}
    assert list(rows) == ["Keras", "SavedModel", "ONNX", "LiteRT", "OpenVINO"]
    without = ["OpenVINO"] * bool(rows["OpenVINO"].note)
    if len(run.recipe.grid) == 3:
        assert rows["LiteRT"].note == "cannot pool volumes"
        with pytest.raises(ValueError, match="LiteRT cannot pool volumes"):
            export(run, tmp_path, format="litert")
        without.append("LiteRT")
    for name in rows.keys() - without:
        assert rows[name].note == ""
        assert rows[name].difference <= rows[name].bound == 0.01
        assert rows[name].milliseconds > 0.0
    assert rows["Keras"].difference == 0.0

    # Of no image there is no landmark, and no failure.
    d = len(run.recipe.grid)
    model = tf.saved_model.load(str(path))
    found = model.signatures["volumes" if d == 3 else "arrays"](
        image=tf.zeros((0, *[9] * d, 1)), affine=tf.zeros((0, d + 1, d + 1))
    )
    assert found["points_px"].shape == (0, 2, d)
    assert found["covariance_px2"].shape == (0, 2, d, d)
    if "heatmaps" in model.signatures:
        inputs = {"spacing_mm": tf.zeros((0, 2)), "image_bytes": np.zeros(0, "S")}
        if d == 3:
            inputs = {"image": tf.zeros((0, 9, 9, 9, 1)), "affine": tf.zeros((0, 4, 4))}
        maps = model.signatures["heatmaps"](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        assert maps["product"].shape[0] == 0
