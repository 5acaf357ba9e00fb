import dataclasses
import json
import shlex
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.datasets import builder_class
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.models import from_preset
from scn_keras.saved_models.predicting.predict import predict, schema_of
from scn_keras.saved_models.publishing.make_preset import make_preset
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.recipes import load_recipe
from scn_keras.training.run import Run, write_json

FILES = ["config.json", "images.json", "landmarks.json", "metadata.json"]
FILES += ["model.weights.h5"]
FILES += ["model_card.md", "recipe.json", "used_images.json"]


@pytest.fixture(scope="module")
def evaluated(tiny_run, tiny_data, tmp_path_factory):
    """A run whose weights are half numbers, so that nothing is lost: evaluated."""
    path = tmp_path_factory.mktemp("evaluated") / "hand"
    run = Run(shutil.copytree(tiny_run.path, path))
    model = run.load_model()
    for weight in model.trainable_weights:
        half = keras.ops.convert_to_numpy(weight).astype("float16")
        weight.assign(half.astype("float32"))
    model.save(run.model_path)
    evaluate(run, data_dir=tiny_data)
    return run


@pytest.fixture(scope="module")
def preset(evaluated, tiny_data, tmp_path_factory):
    """The folder of a preset."""
    folder = tmp_path_factory.mktemp("presets") / "little"
    make_preset(evaluated, folder, data_dir=tiny_data)
    return folder


@pytest.fixture
def changed(evaluated, tmp_path):
    """A copy of the evaluated run, to do things to."""
    return Run(shutil.copytree(evaluated.path, tmp_path / "run"))


def read(path):
    return json.loads(path.read_text())


def test_a_preset_is_the_model_of_its_run(preset, evaluated):
    assert sorted(path.name for path in preset.iterdir()) == FILES
    image = np.random.default_rng(0).normal(size=(1, 48, 32, 1)).astype("float32")
    model = from_preset(preset)
    np.testing.assert_array_equal(model(image), evaluated.load_model()(image))
    assert model.schema == evaluated.schema
    assert not model.compiled
    config = read(preset / "config.json")
    assert config["registered_name"] == "scn_keras>LandmarkModel"
    assert not {"build_config", "compile_config"} & set(config)


def test_a_preset_is_evaluated_with_its_report(preset, evaluated, tiny_data, tmp_path):
    copied = shutil.copytree(preset, tmp_path / "preset")
    command = ["evaluate", str(copied), "--data-dir", str(tiny_data)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (result,) = (copied / "results").glob("*.json")
    (original,) = (evaluated.path / "results").glob("*.json")
    key = "mre_mm"
    assert read(result)[key] == pytest.approx(read(original)[key], rel=1e-6)
    versions = read(copied / "metadata.json")["environment"]["versions"]
    page = (copied / "report.html").read_text("utf-8")
    assert f"keras {versions['keras']}, " in page
    assert "Not shown" not in page  # of heatmaps


def test_a_calibration_goes_with_the_half_weights(changed, tiny_data, tmp_path):
    random = np.random.default_rng(0)
    truth = random.uniform(5.0, 40.0, (12, len(changed.schema), 2))
    made = Calibration.fit(
        HeldOutImages(
            truth + random.normal(size=truth.shape),
            random.uniform(0.5, 0.9, truth.shape[:2]),
            np.tile(np.eye(2), (*truth.shape[:2], 1, 1)),
            truth,
            np.tile(np.eye(3), (12, 1, 1)),
            np.arange(12) % 4,
        ),
        weights=changed.weights_digest(),
        protocol={"n_images": 12, "truth": None},
    )
    changed.write_calibration(made)
    make_preset(changed, tmp_path / "sure", data_dir=tiny_data)
    carried = Run(tmp_path / "sure").calibration
    assert carried.weights != made.weights
    assert carried.to_dict() == {**made.to_dict(), "weights": carried.weights}
    card = (tmp_path / "sure" / "model_card.md").read_text("utf-8")
    assert "## Uncertainty" in card and "| n_images | 12 |" in card
    assert "| None |" not in card


def test_weights_are_halves_and_nothing_else_is_touched(preset):
    kinds = []
    with h5py.File(preset / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                kinds.append((name, item.dtype.str))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    assert {kind for name, kind in kinds if "seed" not in name} == {"<f2"}
    assert {kind for name, kind in kinds if "seed" in name} <= {"<u4", "<i8"}


def test_a_preset_is_taken_where_a_run_is(preset, evaluated, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (90, 70, 1), np.uint8)
    png = tmp_path / "film.png"
    png.write_bytes(tf.io.encode_png(image).numpy())
    (ours,), _ = predict(preset, [png], (0.5, 0.5))
    (theirs,), _ = predict(evaluated.path, [png], (0.5, 0.5))
    np.testing.assert_array_equal(ours.points_px, theirs.points_px)
    np.testing.assert_array_equal(ours.points_mm, theirs.points_mm)
    assert schema_of(preset) == evaluated.schema

    arguments = ["export", preset, tmp_path / "models", "--check", png]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "models" / "tiny" / "1" / "saved_model.pb").is_file()


def test_the_card_says_what_was_measured(preset, evaluated):
    card = (preset / "model_card.md").read_text("utf-8")
    result = read(evaluated.path / "results" / "test.json")
    low, high = result["ci95"]["mre_mm"]
    for number in (
        f"{result['mre_mm']:.2f} mm ({low:.2f} to {high:.2f})",
        f"{result['median_mm']:.2f} mm",
        f"{result['percentiles_mm']['p99']:.2f} mm",
        f"{result['sdr_percent']['10']:.1f} %",
    ):
        assert f"| {number} |" in card
    assert f"| n_images | {result['n_images']} |" in card
    assert f"| dataset | {result['protocol']['dataset']} |" in card
    worst = max(result["per_landmark"], key=lambda one: one["mre_mm"])
    assert f"`test`: {worst['name']} {worst['mre_mm']:.2f} mm" in card
    assert "4 steps of 2 images, seed 0" in card
    assert "Apache License 2.0" in card
    metadata = read(preset / "metadata.json")
    assert metadata["results"][0]["mre_mm"] == result["mre_mm"]
    assert metadata["half_precision"]["n_images"] == 3
    # What the table of points is rounded to.
    assert metadata["half_precision"]["max_px"] < 1e-3


def test_no_file_of_a_preset_names_a_place_or_an_image(preset, evaluated):
    for path in preset.iterdir():
        data = path.read_bytes()
        assert str(evaluated.path).encode() not in data, path.name
        assert b"/tmp" not in data, path.name
        assert b"test_00000" not in data, path.name  # an id


def test_the_command_is_that_of_the_recipe(changed, tiny_data, tmp_path):
    # Made by a recipe of the package with settings, from a run that lay somewhere.
    recipe = dataclasses.replace(
        changed.recipe, name="synthetic_hand", start=str(tmp_path / "elsewhere")
    )
    write_json(changed.path / "recipe.json", recipe.to_dict())
    made = make_preset(Run(changed.path), tmp_path / "named", data_dir=tiny_data)
    program, command, name, *options = made["command"]
    assert (program, command, name) == ("scn-keras", "train", "synthetic_hand")
    assert options[:2] == ["--from", "elsewhere"]
    assert set(options[2::2]) == {"--set"}
    again = load_recipe(name).override(options[3::2])
    assert (
        dataclasses.replace(again, start="elsewhere") == Run(tmp_path / "named").recipe
    )
    card = (tmp_path / "named" / "model_card.md").read_text("utf-8")
    assert f"\n{shlex.join(made['command'])}\n" in card


def test_what_makes_no_preset_leaves_nothing(
    changed, tiny_run, tiny_data, tmp_path, monkeypatch
):
    out = tmp_path / "out"

    def refused(error, match, run, **options):
        with pytest.raises(error, match=match):
            make_preset(run, out / "mine", data_dir=tiny_data, **options)
        assert not out.exists() or list(out.iterdir()) == []

    (unevaluated := tmp_path / "unevaluated").mkdir()
    for file in ("recipe.json", "landmarks.json", "environment.json"):
        shutil.copy(tiny_run.path / file, unevaluated)
    refused(FileNotFoundError, "not been evaluated.*evaluate", Run(unevaluated))

    # Results of another model.
    model = changed.load_model()
    head = model.network.get_layer("local_appearance").head.kernel
    head.assign(-head)
    model.save(changed.model_path)
    refused(ValueError, "In half precision.*evaluate the run again", changed)
    head.assign(head * 1e12)
    model.save(changed.model_path)
    refused(ValueError, "exceed 65504", changed)
    changed.model_path.unlink()
    refused(FileNotFoundError, "holds no trained model", changed)

    out.mkdir(exist_ok=True)
    (out / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine exists"):
        make_preset(changed, out / "mine", data_dir=tiny_data)


def test_terms_that_the_data_set_does_not_know_are_asked_for(
    evaluated, tiny_data, tmp_path, monkeypatch
):
    builder = builder_class("tiny_hands")
    monkeypatch.setattr(builder, "LICENSE", "")
    with pytest.raises(ValueError, match="terms of use.*--license"):
        make_preset(evaluated, tmp_path / "mine", data_dir=tiny_data)
    arguments = ["preset", evaluated.path, tmp_path / "mine", "--data-dir", tiny_data]
    arguments += ["--license", "For my eyes only."]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "Terms of use: For my eyes only." in result.output
    assert "MB" in result.output and " px on average" in result.output
    assert "For my eyes only." in (tmp_path / "mine" / "model_card.md").read_text(
        "utf-8"
    )


def test_an_ensemble_keeps_its_views_and_no_places(evaluated, tiny_data, tmp_path):
    run = make_ensemble([evaluated, evaluated], tmp_path / "both", views=True)
    evaluate(run, data_dir=tiny_data)
    made = make_preset(run, tmp_path / "preset", data_dir=tiny_data)
    read_back = Run(tmp_path / "preset")
    assert len(read_back.views) == 5
    assert read_back.inference == run.inference
    inference = read(read_back.inference_path)
    assert inference["members"] == ["hand", "hand"]
    assert made["command"] is None and made["seconds"] is None
