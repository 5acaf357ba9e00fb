"""A prepared data set as arrays: the images, points and patients of the pipeline."""

import dataclasses
import io

import keras
import numpy as np
import pytest
import rich.console
import tensorflow as tf
import tensorflow_datasets as tfds
from click.testing import CliRunner

from scn_keras.array_api import TENSORFLOW
from scn_keras.cli import main
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.input import pipeline, selection
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.array_folder import ArrayFolder
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.input.prepare_arrays import prepare_arrays
from scn_keras.training.input.stored_source import StoredSource, training_samples


class Volumes(LandmarkBuilder):
    """Three scans of unlike sizes and spacings, seen by two observers."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("left", "right"), pairs=((0, 1),))
    DIMENSIONS = 3
    IMAGE_DTYPE = "int16"
    OBSERVERS = ("senior", "junior")
    GROUND_TRUTHS = ("phantom",)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        random = np.random.default_rng(0)
        for n in range(3):
            size = np.array([30, 44, 38]) + random.integers(0, 9, 3)
            points = random.uniform(10, 25, (3, 2, 3))
            yield (
                f"{n}",
                self.sample(
                    f"{n}",
                    smooth(random, size),
                    dict(zip(self.point_features(), points, strict=True)),
                    np.diag([0.5, 0.6, 0.9 + 0.2 * n, 1.0]),
                ),
            )


def smooth(random, size):
    """A volume without sharp edges: float32 places differ in their last digits."""
    waves = sum(
        np.sin(np.arange(s).reshape(-1, *[1] * axis) / 5 + random.uniform(0, 6))
        for axis, s in enumerate(reversed(size))
    )
    return (1000 * waves).astype(np.int16)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    Volumes(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def of_volumes(recipe):
    return dataclasses.replace(
        recipe,
        dataset="volumes",
        observer="random",
        validation=0.34,
        image_to_grid=dataclasses.replace(
            recipe.image_to_grid,
            grid=(16, 24, 20),
            grid_spacing=(1.2, 1.2, 1.5),
            normalization="window",
            normalization_limits=(-3000.0, 3000.0),
        ),
        network=recipe.network.replaced(spatial_factor=4),
        augmentation=Augmentation(0.05, crop="z", elastic=0.05, flip=0.5, gamma=0.2),
    )


def quiet():
    return rich.console.Console(file=io.StringIO())


def prepared(recipe, path, data_dir):
    folder = prepare_arrays(recipe, path, data_dir, console=quiet())
    return folder, ArraySource(recipe, path)


def numbers(batch):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, batch)


def assert_close(found, expected):
    (image, y), (expected_image, expected_y) = numbers(found), numbers(expected)
    assert image.shape == expected_image.shape
    # Stored as float16, and places in float32 that are a few 1e-5 px apart.
    np.testing.assert_allclose(image, expected_image, rtol=0, atol=2e-3)
    for name, bound in (("points", 2e-3), ("affine", 1e-4)):
        np.testing.assert_allclose(y[name], expected_y[name], rtol=1e-5, atol=bound)


def assert_is_the_pipeline(recipe, path, data_dir, monkeypatch):
    """Batch by batch, on what the array source has drawn."""
    folder, source = prepared(recipe, path, data_dir)
    samples = {
        sample["id"].numpy().decode(): sample
        for sample in data.load_samples(recipe.dataset, recipe.train_split, data_dir)
    }
    held_out = {
        sample["id"].decode()
        for sample in training_samples(recipe, data_dir)[1].as_numpy_iterator()
    }
    trained_on = [id for id in folder.samples["id"].tolist() if id not in held_out]
    assert held_out and len(trained_on) + len(held_out) == len(samples)
    make, seen, moved = source._images.batch, [], []

    def batch(chosen, observer, observers, drawn):
        seen.append((chosen, observers, drawn))
        return make(chosen, observer, observers, drawn)

    monkeypatch.setattr(source._images, "batch", batch)
    for step in range(4):
        found = numbers(source.training(step)[0])
        chosen, observers, drawn = seen[-1]
        for row, number in enumerate(chosen):
            sample = samples[trained_on[number]]
            points = selection.observed_points(
                {k: v for k, v in sample.items() if not k.endswith("phantom")},
                recipe.observer,
                tf.constant(observers[row]),
                TENSORFLOW,
            )
            expected = pipeline.grid_element(
                pipeline.reduce_sample(sample, recipe),
                points,
                sample["affine"],
                recipe,
                {name: tf.constant(value[row]) for name, value in drawn.items()},
                source.schema.pairs,
            )
            single = found[0][row], {name: v[row] for name, v in found[1].items()}
            assert_close(single, expected)
            moved.append(single[1]["points"])
    assert np.nanstd(moved, axis=0).min() > 0.5
    monkeypatch.undo()
    stored = StoredSource(recipe, data_dir)
    for found, expected in zip(source.validation, stored.validation, strict=True):
        assert_close(found, expected)
    for found, expected in zip(source.plain(), stored.plain(), strict=True):
        assert_close(found, expected)


def test_images_are_those_of_the_pipeline(recipe, dots, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        assert_is_the_pipeline(recipe, tmp_path / "arrays", dots, patch)


def test_volumes_are_those_of_the_pipeline(of_volumes, volumes, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        assert_is_the_pipeline(of_volumes, tmp_path / "arrays", volumes, patch)


def test_what_is_stored(of_volumes, volumes, tmp_path):
    folder, _ = prepared(of_volumes, tmp_path / "arrays", volumes)
    header = folder.header
    assert header["version"] == "volumes/1.0.0"
    assert header["ground_truths"] == ["phantom"]
    assert header["spacing_rule"] == Volumes.SPACING_RULE
    assert folder.schema == Volumes.SCHEMA
    assert set(folder.samples) == {
        *("id", "group", "affine", "to_source", "grid_to_source", "size"),
        *("points_senior", "points_junior", "points_phantom"),
    }
    for sample in data.load_samples("volumes", "train", volumes).as_numpy_iterator():
        (row,) = np.flatnonzero(folder.samples["id"] == sample["id"].decode())
        for name in ("points_junior", "affine"):
            np.testing.assert_array_equal(folder.samples[name][row], sample[name])
        assert folder.image(row).ndim == 3


def test_the_command_stores_splits_once(dots, recipe, tmp_path):
    path = tmp_path / "dots.py"
    path.write_text(
        "from scn_keras.training.recipe import Recipe\n"
        f"def recipe(): return Recipe.from_dict({recipe.to_dict()!r})\n"
    )
    arguments = ["datasets", "arrays", str(path), str(tmp_path / "arrays")]
    splits = [
        "--split",
        "train[:4]",
        "--split",
        "test",
        "--set",
        "image_to_grid.grid=(24, 24)",
    ]
    result = CliRunner().invoke(main, [*arguments, *splits, "--data-dir", str(dots)])
    assert result.exit_code == 0, result.output
    assert "Stored: 13 images in" in result.output
    folder = ArrayFolder(tmp_path / "arrays")
    assert folder.rows("train").tolist() == list(range(10))
    ids = folder.samples["id"]
    assert ids[folder.rows("train[:4]")].tolist() == data.sample_ids(
        "dots", "train[:4]", dots
    )
    assert sorted(ids[folder.rows("test")]) == ["test0", "test1", "test2"]
    folder.require(
        recipe.override(["image_to_grid.grid=(24, 24)", "train_split=train[:4]"])
    )
    again = CliRunner().invoke(main, [*arguments, "--data-dir", str(dots)])
    assert again.exit_code == 1 and "exists and is not empty" in again.output


def test_what_cannot_be_stored_leaves_nothing(recipe, dots, tmp_path):
    for settings, splits, message in (
        (["dataset=knee"], (), "no data set of this name"),
        (["train_split=training"], (), "has the splits test, train"),
        ([], ("validation",), "has the splits test, train"),
        (["image_to_grid.grid=(16, 48, 40)"], (), "3 axes and one channel"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare_arrays(
                recipe.override(settings), tmp_path / "arrays", dots, splits, quiet()
            )
    coarse = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(
            recipe.image_to_grid, grid_spacing=(1.0, 1.0)
        ),
        coarse=recipe,
    )
    with pytest.raises(ValueError, match="with a coarse stage.*coarse="):
        prepare_arrays(coarse, tmp_path / "arrays", dots, console=quiet())
    assert list(tmp_path.iterdir()) == []
