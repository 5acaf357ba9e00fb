"""Training on a data set as arrays: by NumPy, Keras and any backend alone."""

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from scn_keras.geometry import apply_affine
from scn_keras.inference import ImageToGrid
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.experiments.budget import recipe_within
from scn_keras.training.fit import fit
from scn_keras.training.input.array_folder import ArrayFolder
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Optimizer
from scn_keras.training.run import Run

BACKEND = keras.backend.backend()
SCHEMA = LandmarkSchema(("left", "right", "top"), pairs=((0, 1),))
# All that could differ after an interruption.
RECIPE = Recipe(
    name="tiny",
    dataset="blobs",
    observer="random",
    validation=0.3,
    image_to_grid=ImageToGrid(grid=(48, 32)),
    network=Network(
        filters=4, levels=2, dropout=0.3, spatial_kernel_size=3, spatial_factor=8
    ),
    optimizer=Optimizer(average=0.9, clip_norm=1.0),
    augmentation=Augmentation(elastic=0.05, noise=0.05, flip=0.5),
    batch_size=2,
    steps=5,
    steps_per_epoch=2,
    seed=3,
)
VOLUMES = dataclasses.replace(
    RECIPE,
    image_to_grid=dataclasses.replace(RECIPE.image_to_grid, grid=(16, 24, 20)),
    network=dataclasses.replace(RECIPE.network, spatial_factor=4),
)


def blobs(sizes, grid, number):
    """A sample of three blobs in an image that is twice as fine as the grid."""
    d, random = len(grid), np.random.default_rng(number)
    size = np.array(sizes[::-1], "float32")
    affine = np.diag([*np.linspace(0.5, 0.8, d), 1.0]).astype("float32")
    points = (size - 1) * (0.5 + random.uniform(-0.15, 0.15, (3, d)))
    place = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij")[::-1], -1)
    image = -np.ones(sizes)
    for point in points:
        image += 0.9 * np.exp(-0.5 * ((place - point) ** 2).sum(-1) / 3.0**2)
    scale = np.full(d, 2.0)
    to_source = np.diag([*scale / 2.0, 1.0])  # stored as it is
    offset = (size - 1) / 2 - scale * (np.array(grid[::-1]) - 1) / 2
    grid_to_source = np.diag([*scale, 1.0])
    grid_to_source[:d, d] = offset
    other = points + 4.0
    other[1] = np.nan
    return {
        "id": f"image {number}",
        "group": f"patient {number // 2}",
        "image": image,
        "points_first": points,
        "points_second": points if number % 2 else other,
        "affine": affine,
        "to_source": to_source,
        "grid_to_source": grid_to_source,
        "size": size,
    }


def write(path, recipe, count=7):
    random = np.random.default_rng(0)
    sizes = [
        [2 * g + int(random.integers(-6, 7)) for g in recipe.grid] for _ in range(count)
    ]
    samples = [blobs(size, recipe.grid, n) for n, size in enumerate(sizes)]
    ids = [sample["id"] for sample in samples]
    splits = {"train": ids, "few": ids[:2]}
    return ArrayFolder.write(path, recipe, SCHEMA, samples, splits, version="blobs/1")


@pytest.fixture(scope="session")
def arrays(tmp_path_factory):
    return write(tmp_path_factory.mktemp("arrays") / "blobs", RECIPE).path


@pytest.fixture(scope="session")
def volumes(tmp_path_factory):
    return write(tmp_path_factory.mktemp("arrays") / "volumes", VOLUMES).path


def numbers(batch):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, batch)


def batches(source, first, count):
    training = source.training(first)
    return [numbers(training[index]) for index in range(count)]


def assert_same(first, second):
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)


def test_a_folder_is_plain(arrays):
    assert sorted(p.name for p in arrays.iterdir()) == [
        *("arrays.json", "images", "samples.npz"),
    ]
    header = json.loads((arrays / "arrays.json").read_text())
    assert header["settings"]["grid"] == [48, 32]
    assert header["version"] == "blobs/1"
    with np.load(arrays / "samples.npz", allow_pickle=False) as samples:
        assert samples["id"].tolist() == [f"image {n}" for n in range(7)]
        assert samples["points_first"].shape == (7, 3, 2)
        assert samples["points_first"].dtype == np.float32
    image = np.load(arrays / "images" / "00003.npy", allow_pickle=False)
    assert image.dtype == np.float16
    folder = ArrayFolder(arrays)
    assert folder.schema == SCHEMA
    assert folder.rows("few").tolist() == [0, 1]
    expected = blobs(image.shape, RECIPE.grid, 3)["image"]
    np.testing.assert_allclose(image, expected, rtol=0, atol=2.5e-4)


def test_arrays_of_earlier_versions_have_the_stored_axes(arrays, tmp_path):
    path = shutil.copytree(arrays, tmp_path / "arrays")
    header = json.loads((path / "arrays.json").read_text())
    assert header["settings"].pop("axes") == "stored"
    (path / "arrays.json").write_text(json.dumps(header))
    ArrayFolder(path).require(RECIPE)


def test_an_interruption_leaves_no_folder(tmp_path):
    path = tmp_path / "arrays"

    def samples():
        yield blobs((96, 64), RECIPE.grid, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ArrayFolder.write(path, RECIPE, SCHEMA, samples(), {"train": ["image 0"]})
    with pytest.raises(ValueError, match="'train' must.*Received: image 9"):
        samples = [blobs((96, 64), RECIPE.grid, 0)]
        ArrayFolder.write(path, RECIPE, SCHEMA, samples, {"train": ["image 9"]})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "arrays.part").mkdir()  # by SIGKILL
    (tmp_path / "arrays.part" / "rest").touch()
    ArrayFolder.write(path, RECIPE, SCHEMA, samples, {"train": ["image 0"]})
    assert [p.name for p in tmp_path.iterdir()] == ["arrays"]
    assert not (path / "rest").exists()
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        ArrayFolder.write(path, RECIPE, SCHEMA, samples, {"train": ["image 0"]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["image_to_grid.grid=(64, 32)"],
            r"other settings.*grid=\[48, 32\], not \[64, 32\]",
        ),
        (
            ["image_to_grid.normalization=percentile"],
            "normalization='range', not 'percentile'",
        ),
        (
            ["dataset=knees", "image_to_grid.grid_spacing=(1.0, 1.0)"],
            "dataset='blobs', not.*; grid_s",
        ),
        (["train_split=test"], "the splits train, few.*Received: split='test'"),
        (
            ["observer=chief"],
            "observers: .*first, second.*Received: observer='chief'",
        ),
        (["validation=0.01"], "Received: validation=0.01, 4 groups"),
    ],
)
def test_a_recipe_that_does_not_fit_the_arrays_leaves_no_run(
    arrays, tmp_path, settings, message
):
    with pytest.raises(ValueError, match=message):
        fit(RECIPE.override(settings), tmp_path / "run", arrays=arrays)
    assert list(tmp_path.iterdir()) == []


def changed(arrays, path, **header):
    """The folder with another header."""
    for entry in arrays.iterdir():
        (path / entry.name).symlink_to(entry)
    (path / "arrays.json").unlink()
    whole = json.loads((arrays / "arrays.json").read_text()) | header
    (path / "arrays.json").write_text(json.dumps(whole))
    return path


def test_other_refusals(arrays, tmp_path):
    with pytest.raises(FileNotFoundError, match="no arrays.json.*datasets arrays"):
        ArraySource(RECIPE, tmp_path)
    folder = changed(arrays, tmp_path, spacing_from_points=True, spacing_rule="wrist")
    ArraySource(RECIPE, folder)
    with pytest.raises(ValueError, match="(wrist).*: augmentation.elastic_mm"):
        settings = ["augmentation.elastic=0.0", "augmentation.elastic_mm=3.0"]
        ArraySource(RECIPE.override(settings), folder)
    pairless = LandmarkSchema(SCHEMA.names).to_dict()
    changed_again = tmp_path / "pairless"
    changed_again.mkdir()
    changed(arrays, changed_again, landmarks=pairless)
    with pytest.raises(ValueError, match="`pairs`.*augmentation.flip=0"):
        ArraySource(RECIPE, changed_again)
    newer = tmp_path / "newer"
    newer.mkdir()
    with pytest.raises(ValueError, match="format 1. Received: format=9"):
        ArrayFolder(changed(arrays, newer, format=9))
    coarse = dataclasses.replace(
        RECIPE,
        image_to_grid=dataclasses.replace(
            RECIPE.image_to_grid, grid_spacing=(1.0, 1.0)
        ),
        coarse=RECIPE,
    )
    with pytest.raises(ValueError, match="with a coarse stage.*coarse="):
        ArraySource(coarse, arrays)


def test_batches_are_the_same_from_any_step_on(arrays):
    source = ArraySource(RECIPE, arrays)
    whole = batches(source, 0, 7)
    image, y = whole[0]
    assert image.shape == (2, 48, 32, 1) and image.dtype == np.float32
    assert y["points"].shape == (2, 3, 2) and y["affine"].shape == (2, 3, 3)
    assert np.isfinite(image).all() and np.abs(image).max() <= 1.0
    from_disk = dataclasses.replace(RECIPE, cache="disk")
    assert_same(batches(ArraySource(from_disk, arrays), 3, 4), whole[3:])
    assert len({image.tobytes() for image, _ in whole}) == 7
    other = ArraySource(dataclasses.replace(RECIPE, seed=4), arrays)
    other._images.make = source._images.make  # compiled
    assert not np.array_equal(batches(other, 0, 1)[0][0], whole[0][0])


def test_a_loop_over_the_images_in_order_ends(arrays):
    plain = dataclasses.replace(RECIPE, observer="first", validation=0.0)
    sizes = [len(image) for image, _ in ArraySource(plain, arrays).plain()]
    assert sizes == [2, 2, 2, 1]


def test_every_image_comes_once_an_epoch(arrays):
    plain = dataclasses.replace(
        RECIPE, observer="first", augmentation=None, validation=0.0, batch_size=1
    )
    found = []
    for _, y in batches(ArraySource(plain, arrays), 0, 28):
        found.append(apply_affine(y["affine"], y["points"])[0, 0, 0])
    epochs = np.reshape(found, (4, 7))
    stored = ArrayFolder(arrays).samples
    expected = stored["points_first"][:, 0, 0] * stored["affine"][:, 0, 0]
    for epoch in epochs:
        np.testing.assert_allclose(np.sort(epoch), np.sort(expected), rtol=1e-4)
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) > 1


def test_random_observers_are_drawn_image_by_image(arrays):
    plain = dataclasses.replace(RECIPE, augmentation=None, batch_size=3)
    missing = [
        np.isnan(y["points"]).any(axis=(1, 2))
        for _, y in batches(ArraySource(plain, arrays), 0, 40)
    ]
    # Of the even images, the second observer lacks a landmark.
    assert 0.1 < np.mean(missing) < 0.5
    assert any(0 < m.sum() < 3 for m in missing)


def test_validation_images_are_patients_held_out(arrays):
    source = ArraySource(RECIPE, arrays)
    held_out = list(source.validation)
    assert [len(image) for image, _ in held_out] == [2]
    assert_same(held_out, list(source.validation))
    # "random" is validated against the mean, which lacks what one of them lacks.
    points = np.concatenate([y["points"] for _, y in held_out])
    assert np.isnan(points[:, 1]).any() and not np.isnan(points[:, [0, 2]]).any()
    everything = dataclasses.replace(RECIPE, validation=0.0)
    assert ArraySource(everything, arrays).validation is None
    folds = [
        ArraySource(dataclasses.replace(RECIPE, fold=(k, 4)), arrays).validation
        for k in range(4)
    ]
    assert sum(len(image) for fold in folds for image, _ in fold) == 7


@pytest.mark.parametrize("recipe", [RECIPE, VOLUMES], ids=["images", "volumes"])
def test_points_are_where_their_blobs_are(recipe, arrays, volumes):
    folder = arrays if recipe is RECIPE else volumes
    recipe = dataclasses.replace(
        recipe,
        observer="first",
        augmentation=Augmentation(
            0.05, 0.5, 0.1, 0.1, 0.0, 0.0, elastic=0.05, flip=0.5, clip=False
        ),
    )
    errors = []
    for image, y in batches(ArraySource(recipe, folder), 0, 5):
        for single, points in zip(image[..., 0], y["points"], strict=True):
            for point in points:
                errors.append(distance_to_brightest(single, point))
    # Blobs of 1.5 px that overlap are not brightest at their centres.
    assert np.median(errors) < 0.3
    assert np.quantile(errors, 0.8) < 0.7


def distance_to_brightest(image, point):
    """From a point to the centre of mass of the bright pixels around it."""
    axes = np.meshgrid(*map(np.arange, image.shape), indexing="ij")[::-1]
    place = np.stack(axes, -1)
    near = ((place - point) ** 2).sum(-1) < 2.5**2
    weight = np.where(near, image + 1.0, 0.0)[..., None]
    mass = (place * weight).reshape(-1, len(point)).sum(0) / max(weight.sum(), 1e-3)
    return np.linalg.norm(mass - point)


def rows(run):
    with run.history_path.open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in csv.DictReader(file)
        ]


def assert_same_run(run, expected):
    models = [keras.models.load_model(r.checkpoint) for r in (run, expected)]
    variables = [(*m.variables, *m.optimizer.variables) for m in models]
    for found, wanted in zip(*variables, strict=True):
        np.testing.assert_array_equal(
            numbers(found.value), numbers(wanted.value), err_msg=wanted.path
        )
    weights = [r.load_model().get_weights() for r in (run, expected)]
    for found, wanted in zip(*weights, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert rows(run) == rows(expected)


@pytest.fixture(scope="session")
def finished(arrays, tmp_path_factory):
    return fit(RECIPE, tmp_path_factory.mktemp("runs") / "whole", arrays=arrays)


def test_fit_trains_and_validates(finished):
    history = rows(finished)
    assert [row["step"] for row in history] == ["2", "4", "5"]
    for row in history:
        assert all(np.isfinite(float(value)) for value in row.values())
    assert float(history[0]["val_point_error"]) > 0.0
    assert finished.recipe == RECIPE
    assert finished.schema == SCHEMA
    environment = json.loads((finished.path / "environment.json").read_text())
    assert environment["backend"] == BACKEND
    weights = finished.load_model().get_weights()
    assert all(np.isfinite(w).all() for w in weights)


def test_a_training_step_takes_the_batch_of_its_number(arrays, monkeypatch):
    # Keras asks for batches beforehand, to build a model: none may be lost by that.
    def training_batch(self, step):
        return np.full((2, 1), step, "float32"), np.zeros((2, 1), "float32")

    monkeypatch.setattr(ArraySource, "_training_batch", training_batch)
    model = keras.Sequential(
        [keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")]
    )
    model.compile(keras.optimizers.SGD(0.0), "mean_absolute_error")
    training = ArraySource(RECIPE, arrays).training(3)
    history = model.fit(training, steps_per_epoch=1, epochs=6, shuffle=False, verbose=0)
    assert history.history["loss"] == [3, 4, 5, 6, 7, 8]


def test_volumes_in_bfloat16(volumes, tmp_path):
    settings = ["network.dtype=mixed_bfloat16", "steps=1", "validation=0.0"]
    run = fit(VOLUMES.override(settings), tmp_path, arrays=volumes)
    assert np.isfinite(float(rows(run)[0]["loss"]))
    last = keras.models.load_model(run.checkpoint)
    policies = {layer.dtype_policy.name for layer in last.network._flatten_layers()}
    assert "mixed_bfloat16" in policies
    for layer in run.load_model()._flatten_layers():
        assert layer.dtype_policy.name == "float32", layer.path


def test_steps_within_a_time(arrays, monkeypatch):
    def on_batch(self, image, y):
        assert image.shape[1:] == (48, 32, 1)
        assert y["points"].shape[1:] == (3, 2)
        time.sleep(0.1)

    monkeypatch.setattr("scn_keras.training.experiments.budget._TIMED_SECONDS", 0.5)
    monkeypatch.setattr(LandmarkModel, "train_on_batch", on_batch)
    monkeypatch.setattr(LandmarkModel, "test_on_batch", on_batch)
    # At least 0.1 s a step, and for the one batch of validation after every second.
    assert 1 < recipe_within(1.0, RECIPE, arrays=arrays).steps <= 400


# The command in a process where others are as if they were not installed.
# (`sys.modules["tensorflow"] = None` would not do: others look whether it is there.)
COMMAND = """
import os, signal, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, *args):
        if name.partition(".")[0] in {hidden!r}:
            return None
        return super().find_spec(name, *args)

sys.meta_path[:] = [Without if f is PathFinder else f for f in sys.meta_path]
from scn_keras.cli import main
if {killed}:
    from scn_keras.training import callbacks, fit
    step = callbacks.Recorder.on_train_batch_end
    def on_train_batch_end(self, batch, logs=None):
        step(self, batch, logs)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    callbacks.Recorder.on_train_batch_end = on_train_batch_end
main({arguments!r})
"""


def command(*arguments, cwd, killed=False):
    hidden = {"tensorflow", "tensorflow_datasets", "SimpleITK", "matplotlib", "PIL"}
    code = COMMAND.format(
        hidden=hidden - {BACKEND}, killed=killed, arguments=[str(a) for a in arguments]
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )


def test_the_command_trains_with_keras_numpy_and_the_backend_alone(
    finished, arrays, tmp_path
):
    """And a run of it that was killed ends as if nothing had happened."""
    pytest.importorskip("click")
    recipe = tmp_path / "blobs.py"
    recipe.write_text(
        "from scn_keras.training.recipe import Recipe\n"
        f"def recipe(): return Recipe.from_dict({RECIPE.to_dict()!r})\n"
    )
    train = ["train", recipe, "--arrays", arrays, "--out", "run"]
    killed = command(*train, cwd=tmp_path, killed=True)
    assert killed.returncode == -9, killed.stderr
    run = Run(tmp_path / "run")
    assert [row["step"] for row in rows(run)] == ["2"]
    assert not run.model_path.exists()
    resumed = command(*train, "--resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "validation point error" in resumed.stdout
    assert "Next: scn-keras evaluate run" in resumed.stdout
    assert_same_run(run, finished)


def test_the_command_says_what_is_missing(arrays, tmp_path):
    pytest.importorskip("click")
    both = command(
        *("train", "synthetic_hand", "--arrays", arrays, "--data-dir", "."),
        cwd=tmp_path,
    )
    assert both.returncode == 2
    assert "Give --data-dir or --arrays, not both." in both.stderr
    prepared = command("train", "synthetic_hand", cwd=tmp_path)
    assert prepared.returncode == 1
    assert "which is not installed. `scn-keras train --arrays` does not require" in (
        prepared.stderr
    )
    assert list(tmp_path.iterdir()) == []
