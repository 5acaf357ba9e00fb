"""The example of parts of one's own, through every command."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.training import Recipe, Run, load_recipe
from scn_keras.training.experiments import calibrate
from tests.data_dir import use_data_dir

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "own_parts.py"

pytestmark = pytest.mark.skipif(
    not EXAMPLE.is_file(), reason="The examples are not part of the wheel."
)
SHORT = ["--set", "steps_per_epoch=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with the example and its data, which a run was made in."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(EXAMPLE, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_data_dir(patch, folder / "data")
        assert_done("datasets", "prepare", "own_parts:Crosses")
        assert_done("train", "own_parts.py", "--steps", 4, *SHORT)
        yield folder


def assert_done(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    use_data_dir(monkeypatch, folder / "data")


def test_the_example_is_short():
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 80


def test_a_recipe_holds_names_and_values(folder):
    written = json.loads((folder / "runs/own_parts/recipe.json").read_text("utf-8"))
    assert written["dataset"] == "own_parts:Crosses"
    assert written["network"]["kind"] == "own_parts:mobile_net"
    assert written["network"]["alpha"] == 0.35
    assert written["loss"] == "own_parts:Charbonnier"
    assert written["callbacks"] == [{"name": "own_parts:Announcement", "arguments": {}}]
    (transform,) = written["augmentation"]["transforms"]
    assert transform["name"] == "own_parts:scanner_line"
    recipe = Run("runs/own_parts").recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_the_callback_was_called(folder):
    output = assert_done(
        "train", "own_parts.py", "--out", "again", "--steps", 2, *SHORT
    )
    assert "mm in new images." in output


def test_an_interrupted_training_is_resumed(folder):
    run = Run("runs/own_parts")
    cut = shutil.copytree(run.path, folder / "runs" / "cut")
    expected = run.load_model().get_weights()
    # As if it had died after its first epoch: the checkpoint is of the second, so it
    # has nothing left to do but to write the model.
    (cut / "model.keras").unlink()
    assert_done("train", "own_parts.py", "--out", cut, "--steps", 4, *SHORT, "--resume")
    for found, wanted in zip(
        Run(cut).load_model().get_weights(), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_evaluate_report_calibrate_and_ensemble(folder, monkeypatch):
    # The run of a few steps is not better than the mean position of each landmark.
    monkeypatch.setattr(calibrate, "_require_trained", lambda *_: None)
    assert "own_parts" in assert_done("evaluate", "runs/own_parts")
    assert (folder / "runs/own_parts/report.html").is_file()
    steps = ["--set", "steps=2", *SHORT]
    assert_done("calibrate", "runs/own_parts", "--folds", 2, *steps)
    assert (folder / "runs/own_parts/calibration.json").is_file()
    assert_done("ensemble", "both", "runs/own_parts", "runs/own_parts")
    assert_done("evaluate", "both")


def test_crossval(folder):
    arguments = ["--folds", 2, "--out", "cv", "--set", "steps=2", *SHORT]
    assert_done("crossval", "own_parts.py", *arguments)
    assert (folder / "cv/all/report.html").is_file()


def test_export_predict_and_serve_give_the_same_points(folder):
    from starlette.testclient import TestClient

    from scn_keras.saved_models.server.served_model import ServedModel
    from scn_keras.saved_models.server.server import create_app

    image = np.random.default_rng(5).integers(0, 255, (80, 72), np.uint8)
    Image.fromarray(image).save(folder / "image.png")
    assert_done("predict", "runs/own_parts", "image.png", "--json", "run.json")
    assert_done("export", "runs/own_parts", "models")
    assert_done("predict", "models/own_parts/1", "image.png", "--json", "export.json")

    def points(file):
        (answer,) = json.loads((folder / file).read_text("utf-8"))
        return [landmark["px"] for landmark in answer["landmarks"]]

    np.testing.assert_allclose(points("export.json"), points("run.json"), atol=0.01)
    with ServedModel(folder / "models/own_parts/1") as model:
        client = TestClient(create_app(model, "own", "testserver"))
        image = (folder / "image.png").read_bytes()
        answer = client.post("/page/locate", content=image).json()
    served = [landmark["px"] for landmark in answer["landmarks"]]
    np.testing.assert_allclose(served, points("run.json"), atol=0.01)


def elsewhere(cwd, *arguments):
    """A new process in another folder, where the module cannot be imported."""
    command = [sys.executable, "-m", "scn_keras.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8")


def test_elsewhere_the_missing_module_is_named(folder, tmp_path):
    process = elsewhere(tmp_path, "evaluate", folder / "runs/own_parts")
    assert process.returncode == 1
    assert "The module 'own_parts' cannot be imported" in process.stderr
    assert "own_parts:Crosses" in process.stderr


def test_elsewhere_a_network_of_keras_layers_predicts(folder, tmp_path):
    Image.fromarray(np.zeros((80, 72), np.uint8)).save(tmp_path / "image.png")
    process = elsewhere(tmp_path, "predict", folder / "runs/own_parts", "image.png")
    assert process.returncode == 0, process.stderr


def test_a_recipe_file_of_the_name_of_another_module_is_refused(tmp_path):
    (tmp_path / "json.py").write_text("def recipe(): ...")
    with pytest.raises(ValueError, match="another name.*json"):
        load_recipe(str(tmp_path / "json.py"))


def test_a_recipe_file_is_read_again_if_it_has_changed(tmp_path):
    """As in a notebook, with a builder, which TFDS takes once."""
    file = tmp_path / "changing_parts.py"
    text = EXAMPLE.read_text("utf-8").replace("class Crosses", "class Signs")
    file.write_text(text.replace("dataset=Crosses", "dataset=Signs"))
    first = load_recipe(str(file))
    assert load_recipe(str(file)) == first
    file.write_text(file.read_text("utf-8").replace("steps=200", "steps=300"))
    os.utime(file, (1, 1))
    assert (first.steps, load_recipe(str(file)).steps) == (200, 300)
