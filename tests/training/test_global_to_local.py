"""Recipes whose networks look twice, from training to what is done with a run."""

import dataclasses
import inspect
import io
import json

import keras
import numpy as np
import pytest
import rich.console
from scipy.ndimage import map_coordinates

from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import PyramidRefinement
from scn_keras.models import GlobalToLocalNet, LandmarkModel
from scn_keras.pictures import inner_heatmaps
from scn_keras.training import callbacks
from scn_keras.training._refinement import PYRAMID_DEFAULTS
from scn_keras.training.build import build_model, make_loss
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.experiments.ensemble import make_ensemble
from scn_keras.training.fit import fit
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.input.on_grid import part_of_grid
from scn_keras.training.input.prepare_arrays import prepare_arrays
from scn_keras.training.input.stored_source import StoredSource
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Refinement
from scn_keras.training.recipes import load_recipe
from scn_keras.training.run import Run
from scn_keras.training.start_from import start_from
from tests.training.dots import Interruption, interrupt

NAMES = ("large", "middle", "small")


def quiet():
    return rich.console.Console(file=io.StringIO())


def to_local(recipe, **settings):
    return dataclasses.replace(
        recipe,
        name="global_to_local",
        network=Network(kind="GlobalNet", filters=2, blocks=(1,), reductions=2),
        local=Refinement(size=8, filters=2, convolutions=1),
        loss="patches",
        loss_settings={"classification_weight": 20.0},
        peak="votes",
        **{"window": (32, 24), "steps": 4, **settings},
    )


@pytest.fixture(scope="module")
def run(dots_dir, recipe, tmp_path_factory):
    return fit(to_local(recipe), tmp_path_factory.mktemp("runs") / "run", dots_dir)


def weights(run):
    return [keras.ops.convert_to_numpy(w) for w in run.load_model().weights]


def test_a_run_is_evaluated_as_any(run, dots):
    assert Run(run.path).recipe == run.recipe
    model = run.load_model()
    assert type(model) is GlobalToLocalNet
    assert model.local.size == 8
    (result,) = evaluate(run, data_dir=dots, console=quiet())
    assert result["n_images"] == 3 and np.isfinite(result["mre_mm"])
    assert result["protocol"]["decoder"] == "votes"
    assert result["protocol"]["inference"].startswith(
        "one model, local networks around its points"
    )


def test_an_interrupted_run_ends_as_if_nothing_had_happened(
    run, dots, tmp_path, monkeypatch
):
    """The sub-images of a step are drawn as they would have been."""

    with monkeypatch.context() as patch:
        interrupt(patch, callbacks.Recorder, "on_epoch_end", 1)
        with pytest.raises(Interruption):
            fit(run.recipe, tmp_path, dots)
    resumed = fit(run.recipe, tmp_path, dots, resume=True)
    for one, other in zip(weights(run), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_ensemble_is_a_run(run, dots, tmp_path):
    made = make_ensemble([run, run], tmp_path / "both")
    (alone,) = evaluate(run, data_dir=dots, console=quiet())
    (both,) = evaluate(made, data_dir=dots, console=quiet())
    assert both["mre_mm"] == pytest.approx(alone["mre_mm"], rel=1e-2)


def test_a_report_shows_where_patches_see_landmarks(run):
    image = np.random.default_rng(0).normal(size=(48, 40, 1)).astype("float32")
    model = run.load_model()
    found = inner_heatmaps(model, image)
    assert set(found) == {"presence"}
    assert found["presence"].shape == (48, 40, 3)
    votes = keras.ops.convert_to_numpy(model.network(image[None]))[0]
    p = 1.0 / (1.0 + np.exp(-votes[..., 0]))
    # A patch of 4 pixels has its centre at 1.5; between centres it is linear.
    places = (np.indices((48, 40)) - 1.5) / 4.0
    for row in range(3):
        np.testing.assert_allclose(
            found["presence"][..., row],
            map_coordinates(p[..., row], places, order=1, mode="nearest"),
            atol=1e-6,
        )


def test_weights_are_taken_by_landmark(recipe, tmp_path):
    """Presence, displacements and local networks of each, and the normalisation."""
    recipe = to_local(recipe, window=None)
    source = Run.create(tmp_path / "run", recipe, LandmarkSchema(NAMES))
    old = build_model(recipe, 3)
    random = np.random.default_rng(1)
    for weight in old.weights:
        weight.assign(random.uniform(0.1, 1.0, weight.shape) / weight.shape[0])
    source.save_model(old)
    names = ("small", "new", "large")
    new = build_model(recipe, 3)
    said = start_from(new, recipe, LandmarkSchema(names), source)
    assert "2 of 3 landmarks" in said and "initialised landmarks: new" in said
    image = random.normal(size=(1, 48, 40, 1)).astype("float32")
    known, theirs = [0, 2], [2, 0]
    before, after = (keras.ops.convert_to_numpy(m.network(image)) for m in (old, new))
    np.testing.assert_array_equal(after[..., known, :], before[..., theirs, :])
    assert np.any(after[..., 1, :] != before[..., 1, :])
    points = np.full((1, 3, 2), 20.0, "float32")
    before, after = (
        keras.ops.convert_to_numpy(m.local(image, points)["votes"]) for m in (old, new)
    )
    np.testing.assert_allclose(
        after[..., known, :], before[..., theirs, :], rtol=1e-5, atol=1e-6
    )
    assert np.any(after[..., 1, :] != before[..., 1, :])


# --- Parts of the grid ---


def test_a_part_of_the_grid_is_the_same_image_elsewhere():
    random = np.random.default_rng(0)
    image = random.normal(size=(2, 10, 12, 1)).astype("float32")
    points = random.uniform(0, 10, (2, 3, 2)).astype("float32")
    affine = random.normal(size=(2, 3, 3)).astype("float32")
    affine[:, 2] = 0.0, 0.0, 1.0
    element = image, {"points": points, "affine": affine}
    start = np.array([3, 5], "int32")
    element = keras.tree.map_structure(keras.ops.convert_to_tensor, element)
    part, labels = part_of_grid(element, start, (4, 6))
    part, labels = keras.tree.map_structure(keras.ops.convert_to_numpy, (part, labels))
    np.testing.assert_array_equal(part, image[:, 3:7, 5:11])
    np.testing.assert_allclose(labels["points"], points - [5.0, 3.0], rtol=1e-6)
    for b in range(2):
        for p, q in zip(labels["points"][b], points[b], strict=True):
            np.testing.assert_allclose(
                labels["affine"][b] @ [*p, 1.0], affine[b] @ [*q, 1.0], rtol=1e-5
            )


@pytest.mark.parametrize("kind", ["stored", "arrays"])
def test_windows_lie_anywhere_in_the_grid(recipe, dots, tmp_path, kind):
    recipe = to_local(recipe, augmentation=None, validation=0.0)

    def source(recipe):
        if kind == "stored":
            return StoredSource(recipe, dots)
        return ArraySource(recipe, tmp_path)

    if kind == "arrays":
        prepare_arrays(recipe, tmp_path, dots, console=quiet())
    whole = dataclasses.replace(recipe, window=None)
    places = []
    batches = [source(r).training() for r in (recipe, recipe, whole)]
    if kind == "arrays":
        batches = [[b[i] for i in range(12)] for b in batches]
    for _, one, again, all_of_it in zip(range(12), *batches, strict=False):
        one, again, all_of_it = keras.tree.map_structure(
            keras.ops.convert_to_numpy, (one, again, all_of_it)
        )
        assert one[0].shape == (2, 32, 24, 1)
        np.testing.assert_array_equal(one[0], again[0])
        moved = (all_of_it[1]["points"] - one[1]["points"]).reshape(-1, 2)
        x, y = np.round(moved[~np.isnan(moved[:, 0])][0]).astype(int)
        np.testing.assert_array_equal(one[0], all_of_it[0][:, y : y + 32, x : x + 24])
        places.append((y, x))
    y, x = np.array(places).T
    assert 0 <= y.min() < 6 and 10 < y.max() <= 16
    assert 0 <= x.min() < 6 and 10 < x.max() <= 16


# --- Recipes ---


@pytest.mark.parametrize(
    ("name", "patch_size", "classification_weight"),
    [
        ("cephalogram_global_to_local", 32, 20.0),
        ("hand_global_to_local", 32, 20.0),
        ("mouse_skull_global_to_local", 8, 8.0),
    ],
)
def test_recipes_of_the_method(name, patch_size, classification_weight):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert 2**recipe.network.reductions == patch_size
    loss = make_loss(recipe)
    assert loss.classification_weight == classification_weight
    assert recipe.local is not None


def test_a_coarse_scn_is_refined():
    recipe = load_recipe("cephalogram_scn_local")
    small = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=(64, 32)),
        network=recipe.network.replaced(filters=2, dtype="float32"),
        local=Refinement(size=8, filters=2),
    )
    model = build_model(small, 3)
    assert type(model) is GlobalToLocalNet
    assert model.network.heatmap_stride == 4
    heatmaps = model.network.compute_output_shape((1, *recipe.grid, 1))
    assert heatmaps == (1, 240, 192, 3)
    alone = build_model(dataclasses.replace(small, local=None), 3)
    assert type(alone) is LandmarkModel


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "sum"}, "GlobalNet requires .*loss='sum'"),
        ({"peak": "argmax"}, "GlobalNet requires .*peak='argmax'"),
        (
            {"network": Network(levels=2, spatial_factor=4)},
            "GlobalNet requires .*network.kind='SpatialConfigurationNet'",
        ),
        ({"image_to_grid": ImageToGrid((50, 40))}, r"multiple of 4 .*grid=\(50, 40\)"),
        ({"window": (32, 44)}, r"`window` must have 2 sizes.*window=\(32, 44\)"),
        ({"window": (32, 22)}, r"multiple of 4 and 1.*window=\(32, 22\)"),
        ({"window": (32,)}, r"`window` must have 2 sizes.*window=\(32,\)"),
    ],
    ids=["loss", "peak", "network", "grid", "too large", "not a multiple", "axes"],
)
def test_what_does_not_go_together_is_refused(recipe, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(to_local(recipe), **changes)


# --- A second look at several scales, at a network that is not trained ---


def second_look(recipe, finished, **settings):
    local = Refinement(8, 2, 2, frozen=True, scales=2, jitter=1.0, weight=0.5)
    changes = {"local": local, "start": str(finished.path), "steps": 4, **settings}
    return dataclasses.replace(recipe, name="second_look", **changes)


@pytest.fixture(scope="module")
def looked_twice(recipe, finished, dots_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "second_look"
    return fit(second_look(recipe, finished), path, dots_dir)


def test_a_second_look_leaves_the_first_as_it_was(looked_twice, finished, dots):
    run = Run(looked_twice.path)
    assert run.recipe == looked_twice.recipe
    model, first = run.load_model(), finished.load_model()
    assert type(model.local) is PyramidRefinement
    assert model.local.weight == 0.5 and model.local.jitter == 1.0
    for kept, weight in zip(
        model.network.get_weights(), first.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(kept, weight)
    for kept, weight in zip(
        model.target.get_weights(), first.target.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(kept, weight)
    (result,) = evaluate(run, data_dir=dots, console=quiet())
    assert np.isfinite(result["mre_mm"])


def test_an_interrupted_second_look_goes_on(looked_twice, dots, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt(patch, callbacks.Recorder, "on_epoch_end", 1)
        with pytest.raises(Interruption):
            fit(looked_twice.recipe, tmp_path, dots)
    resumed = fit(looked_twice.recipe, tmp_path, dots, resume=True)
    for one, other in zip(weights(looked_twice), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None}, "`local.frozen` requires a trained network.*--from"),
        ({"network": "wider"}, "not trained .*spatial_configuration"),
        ({"image_to_grid": ImageToGrid((64, 40))}, "Received: image_to_grid differ"),
    ],
    ids=["no start", "other network", "other grid"],
)
def test_a_network_that_is_not_trained_must_be_the_trained_one(
    recipe, finished, dots, tmp_path, changes, message
):
    if "network" in changes:
        changes = {"network": recipe.network.replaced(spatial_kernel_size=5)}
    recipe = second_look(recipe, finished, **changes)
    with pytest.raises(ValueError, match=message):
        fit(recipe, tmp_path / "run", dots)
    assert not (tmp_path / "run").exists()


def test_settings_of_local_networks():
    old = {"size": 32, "filters": 16, "convolutions": 4}  # of recipes before 0.3
    assert Refinement(**old).layer_arguments() == old
    defaults = inspect.signature(PyramidRefinement).parameters
    for name, value in Refinement(scales=4).layer_arguments().items():
        if name in PYRAMID_DEFAULTS:
            assert value == defaults[name].default
    recipe = load_recipe("cephalogram_second_look")
    assert recipe.start == "cephalogram" and recipe.local.frozen
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    changed = recipe.override(["local.scales=3", "local.jitter=2"])
    assert changed.local.scales == 3 and changed.local.jitter == 2.0
    with pytest.raises(ValueError, match=r"`local.looks` requires several scales"):
        Refinement(looks=2)
    with pytest.raises(
        ValueError, match=r"`local.weight` must be a number from 0 to 1"
    ):
        Refinement(scales=3, weight=2.0)
