import dataclasses
import inspect
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from scn_keras import models
from scn_keras.cli import main
from scn_keras.inference import ImageToGrid
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.training import callbacks
from scn_keras.training.build import build_model
from scn_keras.training.fit import fit
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Target
from scn_keras.training.run import Run, write_json
from scn_keras.training.start_from import start_from
from tests.training.dots import Interruption, interrupt

NAMES = ("large", "middle", "small")
IMAGE = np.random.default_rng(0).normal(size=(1, 48, 40, 1)).astype("float32")
# One head, two heads, a head from each heatmap to the others, U-Nets in both parts.
KINDS = ["LocalizationUNet", "SpatialConfigurationNet"]
KINDS += ["scn_miccai2016", "scn_verse2020"]


def small(kind="SpatialConfigurationNet", **settings) -> Recipe:
    arguments = inspect.signature(getattr(models, kind)).parameters
    for name, value in {
        **{"filters": 4, "levels": 2, "dropout": 0.0, "convolutions": 2},
        **{"kernel_size": 3, "spatial_kernel_size": 3, "spatial_factor": 4},
    }.items():
        if name in arguments:
            settings.setdefault(name, value)
    return Recipe(
        name="small",
        dataset="dots",
        image_to_grid=ImageToGrid(grid=(48, 40)),
        network=Network(kind=kind, **settings),
        target=Target(sigma=2.0),
    )


@pytest.fixture
def trained(tmp_path):
    """Makes a run whose weights are nowhere what a new model starts from."""

    def make(recipe, names=NAMES) -> Run:
        run = Run.create(tmp_path / "trained", recipe, LandmarkSchema(names))
        model = build_model(recipe, len(names))
        random = np.random.default_rng(1)
        for weight in model.trainable_weights:
            weight.assign(random.uniform(0.1, 1.0, weight.shape) / weight.shape[0])
        model.save(run.model_path)
        return run

    return make


def started(run, recipe, names) -> tuple[LandmarkModel, str]:
    model = build_model(recipe, len(names))
    return model, start_from(model, recipe, LandmarkSchema(names), run)


def heatmaps(model, layer=None):
    network = model.network
    if layer is not None:
        network = keras.Model(network.input, network.get_layer(layer).output)
    return keras.ops.convert_to_numpy(network(IMAGE))


def test_the_same_landmarks_have_the_same_heatmaps(trained):
    run = trained(small())
    model, said = started(run, small(), NAMES)
    np.testing.assert_array_equal(heatmaps(model), heatmaps(run.load_model()))
    np.testing.assert_array_equal(model.target.sigma, run.load_model().target.sigma)
    assert "3 of 3 landmarks" in said
    assert "anew" not in said


def test_offsets_of_an_adapted_run_are_not_taken_over(trained):
    run = trained(small())
    offsets = PointOffsets(np.eye(3, 2), np.ones((3, 2)))
    write_json(run.path / "offsets.json", offsets.to_dict())
    text = start_from(build_model(small(), 3), small(), run.schema, run)
    assert text.endswith("The offsets of its adaptation are not taken over.")


@pytest.mark.parametrize("kind", KINDS)
def test_another_order_of_landmarks_is_another_order_of_heatmaps(trained, kind):
    run = trained(small(kind))
    order = [2, 0, 1]
    model, said = started(run, small(kind), [NAMES[i] for i in order])
    old = run.load_model()
    np.testing.assert_allclose(
        heatmaps(model), heatmaps(old)[..., order], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(
        model.target.sigma, keras.ops.convert_to_numpy(old.target.sigma)[order]
    )
    assert "3 of 3 landmarks" in said


def test_landmarks_in_common_keep_their_local_appearance(trained):
    run = trained(small())
    names = ("tip", "small", "base", "large")
    model, said = started(run, small(), names)
    old, new = (heatmaps(m, "local_appearance") for m in (run.load_model(), model))
    np.testing.assert_allclose(new[..., [1, 3]], old[..., [2, 0]], rtol=1e-5)
    # New ones start from next to nothing.
    assert np.abs(new[..., [0, 2]]).max() < 0.05 * np.abs(new[..., [1, 3]]).min()
    sigma = keras.ops.convert_to_numpy(run.load_model().target.sigma)
    np.testing.assert_array_equal(model.target.sigma, [2.0, sigma[2], 2.0, sigma[0]])
    assert "2 of 4 landmarks" in said
    assert "Newly initialised landmarks: tip, base." in said


def test_fewer_landmarks_of_others_keep_the_kernels_between_them(trained):
    # From each heatmap to each other one: the kernel has no diagonal.
    run = trained(small("scn_miccai2016"))
    model, _ = started(run, small("scn_miccai2016"), ("small", "tip", "large"))

    def whole(model):
        head = model.network.get_layer("spatial_configuration").head
        return keras.ops.convert_to_numpy(head._whole_kernel())

    old, new = whole(run.load_model()), whole(model)
    np.testing.assert_array_equal(new[..., 0, 2], old[..., 2, 0])
    np.testing.assert_array_equal(new[..., 2, 0], old[..., 0, 2])
    assert np.abs(new[..., 1, :]).max() < 1e-3  # tip: anew


def test_no_landmark_in_common_leaves_the_layers_between(trained):
    run = trained(small())
    model, said = started(run, small(), ("tip", "base"))
    weights = {w.path: keras.ops.convert_to_numpy(w) for w in model.trainable_weights}
    for old in run.load_model().network.trainable_weights:
        if old.shape == weights[old.path].shape:
            np.testing.assert_array_equal(weights[old.path], old)
    for head in ("local_appearance", "spatial_configuration"):
        assert np.abs(weights[f"{head}/head/kernel"]).max() < 1e-3
    assert "0 of 2 landmarks" in said


def test_layers_of_other_shapes_start_anew_and_are_named(trained):
    run = trained(small(spatial_kernel_size=5))
    model, said = started(run, small(), NAMES)
    np.testing.assert_array_equal(
        heatmaps(model, "local_appearance"),
        heatmaps(run.load_model(), "local_appearance"),
    )
    named = said.partition("Newly initialised layers: ")[2].splitlines()[0]
    assert named.strip(".").split(", ") == [
        *(f"spatial_configuration/convolution_{i}" for i in range(3)),
        "spatial_configuration/head",
    ]


def test_what_does_not_fit_is_refused(trained, tmp_path):
    run = trained(small())
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("*")}
    with pytest.raises(ValueError, match="SpatialConfigurationNet of 2.*LocalizationU"):
        started(run, small("LocalizationUNet"), NAMES)
    with pytest.raises(ValueError, match="No layer.*as RECIPE.*filters=8 instead of 4"):
        started(run, small(filters=8), NAMES)
    volumes = dataclasses.replace(
        small(),
        image_to_grid=dataclasses.replace(small().image_to_grid, grid=(16, 16, 16)),
    )
    with pytest.raises(ValueError, match="of 2 axes.*of 3"):
        started(run, volumes, NAMES)
    LandmarkEnsemble([run.load_model()]).save(run.model_path)
    with pytest.raises(ValueError, match="from an ensemble.*start="):
        started(run, small(), NAMES)
    assert set(before) == set(run.path.rglob("*"))


def test_a_training_starts_from_a_run_and_resumes(
    dots, recipe, finished, tmp_path, monkeypatch
):
    run = Run(shutil.copytree(finished.path, tmp_path / "first"))
    monkeypatch.chdir(tmp_path)
    again = dataclasses.replace(recipe, start="first", steps=4, seed=8)
    whole = fit(again, "whole", dots)
    assert Run("whole").recipe.start == "first"

    # Killed after its first checkpoint, it needs no more what it started from.
    part = Run.create("part", again, run.schema)
    with monkeypatch.context() as patch:
        interrupt(patch, callbacks.Recorder, "on_epoch_end", 1)
        with pytest.raises(Interruption):
            fit(again, "part", dots, resume=True)
    shutil.rmtree("first")
    fit(again, "part", dots, resume=True)
    for a, b in zip(part.load_model().weights, whole.load_model().weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_started_from_leaves_no_run(dots, recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is not a run"):
        fit(dataclasses.replace(recipe, start="nowhere"), "run", dots)
    with pytest.raises(ValueError, match="No layer"):
        fit(dataclasses.replace(recipe, start="synthetic_hand"), "run", dots)
    assert list(tmp_path.iterdir()) == []


def test_step_0_is_what_the_option_from_of_train_names(
    dots, recipe, finished, tmp_path
):
    still = recipe.override(["optimizer.learning_rate=0.0", "seed=5"])
    file = tmp_path / "still.py"
    file.write_text(
        "from scn_keras.training.recipe import Recipe\n"
        f"def recipe(): return Recipe.from_dict({still.to_dict()!r})\n"
    )
    arguments = ["--from", finished.path, "--steps", 1, "--out", tmp_path / "run"]
    arguments += ["--data-dir", dots]
    result = CliRunner().invoke(main, ["train", str(file), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "3 of 3 landmarks" in result.output
    run = Run(tmp_path / "run")
    assert run.recipe.start == str(finished.path)
    for a, b in zip(
        run.load_model().trainable_weights,
        finished.load_model().trainable_weights,
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
