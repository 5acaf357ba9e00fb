import dataclasses
import io
import json

import numpy as np
import pytest
import rich.console

from scn_keras.inference import test_time_views
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.fit import fit
from scn_keras.training.run import Run


@pytest.fixture(scope="module")
def members(tiny_run, tiny_data, tmp_path_factory):
    other = dataclasses.replace(tiny_run.recipe, seed=1)
    return tiny_run, fit(other, tmp_path_factory.mktemp("other") / "run", tiny_data)


def quiet():
    return rich.console.Console(file=io.StringIO())


def test_mean_heatmaps_are_decoded(members, tmp_path, tiny_data):
    made = make_ensemble(members, tmp_path / "both")
    image = np.random.default_rng(0).normal(size=(2, 48, 32, 1)).astype("float32")
    model = Run(made.path).load_model()
    single = [run.load_model() for run in members]
    expected = np.mean(
        [m(image).numpy() / m.target.height().numpy() for m in single], axis=0
    )
    np.testing.assert_allclose(model(image).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert made.inference == "mean heatmaps of 2 models, no test-time augmentation"
    assert json.loads(made.inference_path.read_text())["members"] == [
        str(run.path) for run in members
    ]
    (result,) = evaluate(made, data_dir=tiny_data, console=quiet())
    assert result["protocol"]["inference"] == made.inference
    assert result["protocol"]["recipe"] == "both"


def test_views_of_one_run(tiny_run, tmp_path, tiny_data):
    made = make_ensemble([tiny_run], tmp_path / "views", views=True)
    np.testing.assert_array_equal(made.views, test_time_views((48, 32)))
    (result,) = evaluate(made, data_dir=tiny_data, console=quiet())
    assert result["protocol"]["inference"] == (
        "one model, mean of the points in 5 views of each image"
    )
    (plain,) = evaluate(tiny_run, data_dir=tiny_data, console=quiet())
    assert plain["protocol"]["inference"] == "one model, no test-time augmentation"
    assert result["mre_mm"] != plain["mre_mm"]


def test_what_does_not_go_together(members, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        make_ensemble([], tmp_path / "none")
    first, second = members
    unlike = Run(second.path)
    unlike.recipe = dataclasses.replace(
        second.recipe,
        image_to_grid=dataclasses.replace(second.recipe.image_to_grid, grid=(32, 48)),
    )
    with pytest.raises(ValueError, match="cannot be members.*different: grid"):
        make_ensemble([first, unlike], tmp_path / "grids")
    other = Run(second.path)
    other.schema = LandmarkSchema(("a",))
    with pytest.raises(ValueError, match="cannot be members.*different: landmarks"):
        make_ensemble([first, other], tmp_path / "landmarks")
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_made_remains(members, tmp_path, monkeypatch):
    from scn_keras.models import LandmarkEnsemble

    def full(self, path):
        raise OSError("disk full")

    monkeypatch.setattr(LandmarkEnsemble, "save", full)
    with pytest.raises(OSError, match="disk full"):
        make_ensemble(members, tmp_path / "both")
    assert list(tmp_path.iterdir()) == []
