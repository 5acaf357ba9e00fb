"""Files of version 0.1 (commit ace4a16): they load and give the same points.

`fixtures/ace4a16/make_fixtures.py` made them with that version.
"""

import csv
import json
import pathlib
import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from scn_keras.files.orientation import STORED_PIXELS
from scn_keras.training import ImageToGrid, Network, Recipe, Run, load_recipe

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "ace4a16"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text("utf-8"))
MODELS = list(EXPECTED["points"])
# The files were made on another machine than that of this test, perhaps, where sums
# are taken in another order. On the same one, points are the same.
PIXELS = 0.02


def assert_same_points(answers, expected):
    assert len(answers) == len(expected)
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["calibrated"] == wanted["calibrated"]
        assert answer.get("trusted") == wanted.get("trusted")
        for found, landmark in zip(
            answer["landmarks"], wanted["landmarks"], strict=True
        ):
            assert found["name"] == landmark["name"]
            assert found.keys() == landmark.keys()
            np.testing.assert_allclose(found["px"], landmark["px"], atol=PIXELS)
            np.testing.assert_allclose(found["mm"], landmark["mm"], atol=PIXELS)
            for key in ("score", "radius90_px", "radius90_mm"):
                if landmark.get(key) is not None:
                    np.testing.assert_allclose(found[key], landmark[key], rtol=1e-3)


def predicted(model, folder, process=False):
    """What `predict --json` writes of both images, in a new process if need be."""
    out = folder / "answer.json"
    spacing = [str(number) for number in EXPECTED["spacing"]]
    images = [str(FIXTURES / f"image{n}.png") for n in (0, 1)]
    arguments = ["predict", str(model), *images, "--spacing", *spacing]
    arguments += ["--json", str(out)]
    if process:
        command = [sys.executable, "-W", "error::FutureWarning", "-m", "scn_keras.cli"]
        subprocess.run([*command, *arguments], check=True, cwd=folder)
    else:
        from click.testing import CliRunner

        from scn_keras.cli import main

        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    return json.loads(out.read_text("utf-8"))


@pytest.mark.parametrize("model", MODELS)
def test_models_find_the_same_points(model, tmp_path):
    answers = predicted(FIXTURES / model, tmp_path)
    assert_same_points(answers, EXPECTED["points"][model])


def test_a_model_file_in_a_new_process(tmp_path):
    answers = predicted(FIXTURES / "model.keras", tmp_path, process=True)
    assert_same_points(answers, EXPECTED["points"]["model.keras"])


def test_keras_alone_loads_the_file():
    import scn_keras.models  # noqa: F401

    model = keras.models.load_model(FIXTURES / "model.keras", compile=False)
    assert model.localizer.predict(np.zeros((1, 48, 32, 1)), verbose=0)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (FIXTURES / "recipes").glob("*.json"))
)
def test_stored_recipes_are_those_of_today(name):
    written = json.loads((FIXTURES / "recipes" / f"{name}.json").read_text("utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = Recipe.from_dict(written)
    recipe = load_recipe(name)
    if name == "volume":
        # It reads volumes along the axes of the patient now; stored ones do as before.
        assert stored.image_to_grid.axes == "stored"
        recipe = recipe.override(["image_to_grid.axes=stored"])
    if name == "cephalogram_fast":
        # Its gradients have the norm 1 now, at four times the rate.
        recipe = recipe.override(
            [
                *("optimizer.learning_rate=4e-4", "optimizer.clip_norm=None"),
                "steps=20000",
            ]
        )
    if name == "hand_fast":
        # Its gradients have the norm 1 now, at three times the rate.
        recipe = recipe.override(
            [
                *("optimizer.learning_rate=5e-4", "optimizer.clip_norm=None"),
                *("steps=8000", "steps_per_epoch=400"),
            ]
        )
    if name == "mouse_skull":
        recipe = recipe.override(
            ["optimizer.learning_rate=3e-3", "optimizer.clip_norm=5.0"]
        )
    if name in ("hand_reference", "hand_reference_unet"):
        # The percentiles are those of the grid now, and shifts those of the authors.
        recipe = recipe.override(
            [
                "image_to_grid.normalization=percentile",
                f"augmentation.translation={10 / 256}",
                f"augmentation.elastic={20 / 256}",
            ]
        )
    if name == "hand_reference_unet":
        recipe = recipe.override(["network.levels=5"])  # those of cephalograms
    assert stored == recipe


VERSE_2020 = {
    "kind": "scn_verse2020",
    **{"dtype": "float32", "filters": 8, "levels": 4, "dropout": 0.25},
    **{"spatial_factor": 4, "heatmap_initializer": None},
    **{"local_activation": "tanh", "spatial_activation": "tanh"},
}


def test_stored_networks_of_verse_2020_have_the_dropout_they_had():
    recipe = Recipe(
        "vertebrae",
        "synthetic_volume",
        image_to_grid=ImageToGrid((32, 32, 32)),
        network=Network("scn_verse2020", filters=8),
        augmentation=None,
    )
    assert recipe.network.dropout_last is True
    written = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(written) == recipe
    assert Recipe.from_dict({**written, "network": VERSE_2020}).network == Network(
        "scn_verse2020", filters=8, dropout_last=False
    )
    # A recipe of version 0.1 has all arguments of all networks.
    of_0_1 = {**VERSE_2020, "stride": None, "padding": None, "spatial_border": None}
    stored = Recipe.from_dict({**written, "network": of_0_1})
    assert stored.network.dropout_last is False
    # Written by hand
    short = {"kind": "scn_verse2020", "filters": 8}
    assert Recipe.from_dict({**written, "network": short}) == recipe


@pytest.mark.parametrize(
    ("file", "run"),
    [
        ("recipe_file.py", "run_interrupted"),
        ("recipe_file_coarse.py", "run_coarse_to_fine"),
    ],
)
def test_recipe_files_are_read_with_a_warning(file, run):
    with pytest.warns(FutureWarning, match="image_to_grid.grid"):
        recipe = load_recipe(str(FIXTURES / file))
    assert recipe == Run(FIXTURES / run).recipe


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    from scn_keras.datasets import prepare

    folder = tmp_path_factory.mktemp("hands")
    prepare(
        "landmark_folder",
        data_dir=folder,
        manual_dir=shutil.copytree(FIXTURES / "hands", folder / "source"),
        config="tiny",
        report=lambda line: None,
    )
    return folder


def assert_same_history(run, expected):
    with run.history_path.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    for name, values in expected.items():
        found = [float(row[name]) for row in rows]
        np.testing.assert_allclose(found, values, rtol=1e-4, err_msg=name)


def test_an_interrupted_run_is_finished(hands, tmp_path):
    from scn_keras.training.fit import fit

    path = shutil.copytree(FIXTURES / "run_interrupted", tmp_path / "run")
    run = fit(Run(path).recipe, path, hands, resume=True)
    assert_same_history(run, EXPECTED["resumed"])
    assert run.model_path.is_file()


def test_arrays_are_trained_on(tmp_path):
    from scn_keras.training.fit import fit

    recipe = Recipe.from_dict(EXPECTED["arrays_recipe"])
    run = fit(recipe, tmp_path / "run", arrays=FIXTURES / "arrays")
    assert_same_history(run, EXPECTED["arrays"])
    # Their images may be stored pixels of files with an orientation tag.
    assert run.orientation == STORED_PIXELS
