"""Recipes with the authors' settings: twenty steps of small networks on made data."""

import dataclasses
import io

import keras
import numpy as np
import pytest
import rich.console
import tensorflow_datasets as tfds
from click.testing import CliRunner

from scn_keras.cli import main
from scn_keras.cli._catalog import published_result
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.exporting.export import export
from scn_keras.training.build import make_optimizer
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.fit import fit
from scn_keras.training.recipes import load_recipe

SPINES = ["spine_reference", "verse2019_reference", "verse2020_reference"]
SMALL = {
    "spine_reference": {"filters": 4, "levels": 2, "spatial_kernel_size": 3},
    "verse2019_reference": {"filters": 4, "levels": 2, "spatial_kernel_size": 3},
    "verse2020_reference": {"filters": 4, "levels": 2},
    "cephalogram_melba": {"filters": 4, "levels": 2, "spatial_kernel_size": 3},
}


class Columns(LandmarkBuilder):
    """CT of 8 mm per voxel with three bright blocks, the outer ones 30 voxels apart."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("upper", "middle", "lower"))
    DIMENSIONS = 3
    IMAGE_DTYPE = "int16"

    def _split_generators(self, dl_manager):
        return {"train": self._samples(4, 0), "test": self._samples(2, 4)}

    def _samples(self, count, first):
        for n in range(first, first + count):
            random = np.random.default_rng(n)
            points = np.array([[8.0, 8, 36], [8, 9, 21], [8, 8, 6]])
            points += random.integers(-1, 2, (3, 3))
            image = np.full((42, 16, 16), -1000, np.int16)
            for k, (x, y, z) in enumerate(points.astype(int)):
                image[z - 1 : z + 2, y - 1 : y + 2, x - 2 : x + 3] = 400 * (k + 1)
            if n == 1:
                points[2] = np.nan
            affine = np.diag([8.0, 8.0, 8.0, 1.0])
            yield f"{n}", self.sample(f"{n}", image, {"points": points}, affine)


@pytest.fixture(scope="module")
def columns_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    Columns(data_dir=folder).download_and_prepare()
    return folder


def small(name, dataset):
    recipe = load_recipe(name)
    to_grid = recipe.image_to_grid
    if name in SPINES:
        to_grid = dataclasses.replace(
            to_grid, grid=(16, 16, 16), grid_spacing=(8.0, 8.0, 8.0), tile_step=13
        )
    else:
        to_grid = dataclasses.replace(to_grid, grid=(48, 32))
    changes = {"spatial_factor": 4, **SMALL[name]}
    return dataclasses.replace(
        recipe,
        dataset=dataset,
        image_to_grid=to_grid,
        network=recipe.network.replaced(**changes),
        steps=20,
        steps_per_epoch=20,
    )


@pytest.mark.parametrize("name", SPINES)
def test_spines_are_trained_and_located_in_tiles(name, columns_dir, tmp_path):
    run = fit(small(name, "columns"), tmp_path / name, columns_dir)
    (result,) = evaluate(
        run, data_dir=columns_dir, console=rich.console.Console(file=io.StringIO())
    )
    assert result["n_images"] == 2 and np.isfinite(result["mre_mm"])
    inference = result["protocol"]["inference"]
    assert "long images in grids 13 pixels apart" in inference
    with pytest.raises(ValueError, match="tiles of long images, which only SavedModel"):
        export(run, tmp_path / "exported", format="onnx")
    for sigma in run.load_model().target.weights:
        learned = bool(np.any(keras.ops.convert_to_numpy(sigma) != 3.0))
        assert learned == (name != "verse2020_reference")


def test_uncertainty_is_trained(dots, tmp_path):
    recipe = small("cephalogram_melba", "dots")
    recipe = dataclasses.replace(
        recipe, observer=None, train_split="train", test_split="test"
    )
    run = fit(recipe, tmp_path / "run", dots)
    target = run.load_model().target
    sigma = keras.ops.convert_to_numpy(target.sigma)
    assert sigma.shape == (3, 2) and np.all(np.abs(sigma - 3**0.5) > 0)
    assert np.any(keras.ops.convert_to_numpy(target.rotation) != 0)


TO_LOCAL = ["cephalogram_global", "volume_global"]


@pytest.mark.parametrize("name", TO_LOCAL)
def test_global_and_local_networks_are_trained_apart(name, dots, columns_dir, tmp_path):
    data, set_name = (dots, "dots") if "ceph" in name else (columns_dir, "columns")
    changes = {"observer": None, "dataset": set_name, "test_split": "test"}
    changes |= {"batch_size": 2, "steps": 20, "steps_per_epoch": 20}
    runs = []
    for stage in ("reference", "to_local_reference"):
        recipe = load_recipe(f"{name}_{stage}")
        rank = len(recipe.grid)
        window = recipe.window and (16, 16, 8)[:rank]
        if recipe.local is not None:
            local = dataclasses.replace(recipe.local, size=4, filters=2, convolutions=1)
            changes |= {"local": local, "start": str(runs[0].path)}
        recipe = dataclasses.replace(
            recipe,
            image_to_grid=dataclasses.replace(
                recipe.image_to_grid,
                grid=(32, 24, 16)[:rank],
                grid_spacing=(2.0, 2.0) if rank == 2 else (16.0, 16.0, 16.0),
            ),
            window=window,
            network=recipe.network.replaced(filters=2, blocks=(1,), reductions=2),
            **changes,
        )
        runs.append(fit(recipe, tmp_path / stage, data))
    first, second = (run.load_model() for run in runs)
    trained = [keras.ops.convert_to_numpy(w) for w in first.network.weights]
    kept = [keras.ops.convert_to_numpy(w) for w in second.network.weights]
    for a, b in zip(trained, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    assert second.local.border == "inside" and second.peak.whole_pixels
    console = rich.console.Console(file=io.StringIO())
    (result,) = evaluate(runs[1], data_dir=data, console=console)
    assert np.isfinite(result["mre_mm"])


def test_settings_of_the_local_networks():
    recipe = load_recipe("cephalogram_global_to_local_reference")
    optimizer = make_optimizer(recipe)
    assert optimizer.amsgrad
    # SGDR (Loshchilov, Hutter, 2017) with a first period of 10,000 steps, doubled.
    rates = [
        float(optimizer._learning_rate(step))
        for step in (0, 5000, 10_000, 20_000, 30_000, 50_000, 70_000)
    ]
    np.testing.assert_allclose(
        rates, [1e-3, 5e-4, 1e-3, 5e-4, 1e-3, 5e-4, 1e-3], rtol=1e-3
    )
    assert recipe.steps == 10_000 * (1 + 2 + 4 + 8 + 16)


# From the published code, as listed in docs/guides/networks.md.
@pytest.mark.parametrize(
    ("name", "steps", "rates"),
    [
        ("spine_reference", 40_000, {0: 5e-8, 39_999: 5e-8}),
        (
            "verse2019_reference",
            100_000,
            {0: 1e-8, 50_000: 1e-8, 50_001: 5e-9, 75_001: 1e-9},
        ),
        ("verse2020_reference", 50_000, {0: 1e-4, 25_000: 1e-4 * 0.1**0.5}),
        ("cephalogram_melba", 40_000, {20_000: 1e-6, 20_001: 5e-7, 30_001: 1e-7}),
    ],
)
def test_learning_rates_of_the_published_code(name, steps, rates):
    recipe = load_recipe(name)
    assert (recipe.steps, recipe.batch_size) == (steps, 1)
    rate = make_optimizer(recipe).learning_rate
    if recipe.optimizer.schedule == "constant":
        found = [float(rate)] * len(rates)
    else:
        optimizer = make_optimizer(recipe)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        found = [float(inner._learning_rate(step)) for step in rates]
    np.testing.assert_allclose(found, list(rates.values()), rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [*SMALL, "hand_reference", *(f"{name}_to_local_reference" for name in TO_LOCAL)],
)
def test_published_results_and_their_sources_are_shown(name):
    result = CliRunner().invoke(main, ["recipes", name])
    assert "Published result" in result.output
    assert "\n" not in published_result(name)


def test_long_names_have_a_line_of_their_own():
    output = CliRunner().invoke(main, ["recipes"]).output
    lines = output.splitlines()
    number = lines.index("cephalogram_global_to_local_reference")
    assert lines[number + 1].startswith(" " * 30 + "The local networks")
    assert "spine_reference               The published" in output


def test_train_shows_the_published_result(monkeypatch, tmp_path):
    def stop(*args, **kwargs):
        raise ValueError("stopped here")

    monkeypatch.setattr("scn_keras.training.fit.fit", stop)
    out = str(tmp_path / "run")
    result = CliRunner().invoke(main, ["train", "cephalogram_melba", "--out", out])
    assert "0.99 mm with a standard deviation of 1.07" in result.output
    result = CliRunner().invoke(main, ["train", "synthetic_hand", "--out", out])
    assert "Published" not in result.output
