"""Every command once, on tiny data: what the wheel is tested with on new Pythons."""

import json
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.training.experiments import calibrate
from tests.data_dir import use_data_dir

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "ace4a16"
TINY = [
    *("dataset=landmark_folder/tiny", "image_to_grid.grid=(48,32)"),
    *("network.filters=2", "network.levels=2", "network.spatial_kernel_size=3"),
    *("network.spatial_factor=8", "validation=0.2", "steps_per_epoch=2"),
]
SETTINGS = [argument for setting in TINY for argument in ("--set", setting)]


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """The working directory, with a prepared data set and the run `runs/radiograph`."""
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_data_dir(patch, folder / "data")
        # Held-out patients are written beside the images.
        hands = shutil.copytree(FIXTURES / "hands", folder / "hands")
        assert "15" in run("datasets", "check", hands, "--as", "landmark_folder")
        run("datasets", "prepare", "landmark_folder/tiny", "--manual-dir", hands)
        run("train", "radiograph", "--steps", 4, *SETTINGS)
        yield folder


def test_the_program_is_installed():
    program = shutil.which("scn-keras", path=str(pathlib.Path(sys.executable).parent))
    if program is None:
        pytest.skip("The package is not installed, only on the path.")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and "scn-keras" in done.stdout


def test_datasets(folder):
    assert "landmark_folder" in run("datasets", "list")
    run("datasets", "show", "landmark_folder/tiny", "--out", "sheet.png")
    run("datasets", "arrays", "radiograph", "arrays", *SETTINGS)
    assert (folder / "sheet.png").is_file() and (folder / "arrays").is_dir()


def test_train_on_arrays(folder):
    run("datasets", "arrays", "radiograph", "stored", *SETTINGS)
    options = ["--arrays", "stored", "--out", "runs/arrays", "--steps", 2]
    run("train", "radiograph", *options, *SETTINGS)
    assert (folder / "runs/arrays/model.keras").is_file()


def test_evaluate_compare_and_calibrate(folder, monkeypatch):
    run("evaluate", "runs/radiograph", "--json", "results.json")
    assert json.loads((folder / "results.json").read_text("utf-8"))[0]["n_images"] > 0
    shutil.copytree(folder / "runs/radiograph", folder / "runs/other")
    assert "second - first" in run("compare", "runs/radiograph", "runs/other")
    command = ["calibrate", "runs/radiograph", "--folds", "2", "--set", "steps=2"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1 and "hardly trained" in done.output
    monkeypatch.setattr(calibrate, "_require_trained", lambda *_: None)
    run(*command)
    assert (folder / "runs/radiograph/calibration.json").is_file()


def test_crossval_and_ensemble(folder):
    run(
        "crossval",
        "radiograph",
        "--folds",
        2,
        "--out",
        "cv",
        *SETTINGS,
        "--set",
        "steps=2",
    )
    run("ensemble", "both", "cv/fold0", "cv/fold1")
    assert (folder / "both/model.keras").is_file()


def test_predict_export_and_serve(folder):
    image = FIXTURES / "image0.png"
    run(
        "predict", "runs/radiograph", image, "--overlay", "pictures", "--json", "p.json"
    )
    assert (folder / "pictures/image0.png").is_file()
    run("export", "runs/radiograph", "models", "--name", "tiny")
    run("predict", "models/tiny/1", image, "--csv", "points.csv")
    command = [sys.executable, "-m", "scn_keras.cli", "serve", "models/tiny/1"]
    with subprocess.Popen([*command, "--port", "18765"], cwd=folder) as server:
        try:
            url = "http://127.0.0.1:18765/v1/models/tiny"
            for _ in range(120):
                try:
                    with urllib.request.urlopen(url, timeout=1.0) as answer:
                        state = answer.read()
                except OSError:
                    state = b"does not answer"
                    assert server.poll() is None
                if b"AVAILABLE" in state:
                    break
                time.sleep(0.5)
            else:
                pytest.fail(f"The server is not available after a minute: {state!r}")
        finally:
            server.terminate()


def test_draw_explain_and_film(folder):
    run("draw", "runs/radiograph", "--out", "network.svg")
    assert "<svg" in (folder / "network.svg").read_text("utf-8")
    run("explain", "runs/radiograph", FIXTURES / "image0.png", "--out", "page.html")
    assert (folder / "page.html").is_file() and (folder / "page.png").is_file()
    options = ["--film", "all", "--out", "runs/filmed", "--steps", 2]
    run("train", "radiograph", *options, *SETTINGS)
    assert (folder / "runs/filmed/film.webp").is_file()


def test_preset(folder):
    run("evaluate", "runs/radiograph")
    run("preset", "runs/radiograph", "mine", "--license", "For tests only.")
    run("predict", "mine", FIXTURES / "image1.png")


def test_networks_and_demo():
    assert "6,348,070" in run("networks")
    assert "synthetic hands" in run("demo", "--help")
