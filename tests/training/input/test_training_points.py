"""A landmark without a point in the training images is an error before training."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds
from rich.console import Console

from scn_keras import LandmarkSchema
from scn_keras.datasets import LandmarkBuilder, prepare
from scn_keras.training.experiments.crossval import train_folds
from scn_keras.training.fit import fit
from scn_keras.training.input import selection
from scn_keras.training.input.prepare_arrays import prepare_arrays

NAN = float("nan")


class PartlyMarked(LandmarkBuilder):
    """Landmark b is missing in all images of `train`, every landmark in `empty`."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a", "b"))

    def _split_generators(self, dl_manager):
        points = {
            "train": [[12, 15], [NAN, NAN]],
            "test": [[12, 15], [20, 30]],
            "empty": [[NAN, NAN]] * 2,
        }
        return {
            split: self._generate_examples(split, points[split]) for split in points
        }

    def _generate_examples(self, split, points):
        image = np.arange(60 * 50, dtype=np.uint8).reshape(60, 50)
        for n in range(3):
            sample = self.sample(f"{split}{n}", image, {"points": points}, np.eye(3))
            yield n, sample


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("tfds")
    prepare(PartlyMarked, path, report=str)
    return path


def of(recipe, split):
    return dataclasses.replace(
        recipe,
        dataset=f"{__name__}:PartlyMarked",
        train_split=split,
        validation=0.0,
        augmentation=None,
    )


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", r"one of the 3 training images \(split 'train'\).* no point of: b$"),
        ("empty", r"points in the 3 training images \(split 'empty'\).*: no points$"),
    ],
)
@pytest.mark.parametrize("arrays", [False, True])
def test_training_is_refused(recipe, data_dir, tmp_path, split, message, arrays):
    recipe = of(recipe, split)
    folder = None
    if arrays:
        folder = tmp_path / "arrays"
        prepare_arrays(recipe, folder, data_dir)
    with pytest.raises(ValueError, match=message):
        fit(recipe, tmp_path / "run", data_dir, arrays=folder)
    assert not (tmp_path / "run").exists()


def test_held_out_images_do_not_count(recipe, data_dir, tmp_path):
    # Landmark b is in the images of `test`, which are not those of training.
    recipe = dataclasses.replace(of(recipe, "train+test[:1]"), fold=(0, 2), seed=0)
    groups = ["train0", "train1", "train2", "test0"]
    _, held_out = selection.fold_groups(groups, (0, 2), seed=0)
    if "test0" not in held_out:
        recipe = dataclasses.replace(recipe, fold=(1, 2))
    with pytest.raises(ValueError, match=r"the 2 training images.* no point of: b$"):
        fit(recipe, tmp_path / "run", data_dir)


def test_all_folds_are_tested_before_the_first_is_trained(recipe, data_dir, tmp_path):
    recipe = of(recipe, "train+test[:1]")
    folds = train_folds(recipe, 4, tmp_path / "folds", data_dir, Console())
    with pytest.raises(ValueError, match=r"the 3 training images.* no point of: b$"):
        next(folds)
    assert not (tmp_path / "folds").exists()


@pytest.mark.parametrize(
    ("observer", "missing"), [("x", "b"), ("y", "a"), ("mean", "a, b"), ("random", "")]
)
def test_points_of_the_observer_count(recipe, observer, missing):
    first = {
        "points_x": np.array([[1, 2], [NAN, NAN], [5, 6]]),
        "points_y": np.array([[NAN, NAN], [3, 4], [5, 6]]),
    }
    recipe = dataclasses.replace(recipe, observer=observer)
    names = ("a", "b", "c")
    for samples in ([first, first], [{k: np.stack([v]) for k, v in first.items()}]):
        if not missing:
            selection.require_points(samples, names, recipe)
        else:
            with pytest.raises(ValueError, match=f"no point of: {missing}$"):
                selection.require_points(samples, names, recipe)


def test_preparing_a_set_without_points_is_refused(tmp_path, monkeypatch):
    def splits(names):
        return lambda self, dl_manager: {
            name: self._generate_examples(name, [[1, 2], [NAN, NAN]]) for name in names
        }

    monkeypatch.setattr(PartlyMarked, "_split_generators", splits(["train", "test"]))
    with pytest.raises(ValueError, match="No image has a point of 'b'"):
        prepare(PartlyMarked, tmp_path / "tfds", report=str)
    assert not (tmp_path / "tfds").exists()
