"""The class and the landmarks that are stored with a prepared set."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from scn_keras.datasets import prepare
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.input.prepared_sets import prepared_builder


def dots_class(module, names=("left", "right")):
    """A builder class as a module of the user would define it."""

    def generate(self):
        points = np.ones((len(self.SCHEMA), self.DIMENSIONS))
        image = np.zeros((4,) * self.DIMENSIONS, self.IMAGE_DTYPE)
        features = dict.fromkeys(self.point_features(), points)
        yield "0", self.sample("0", image, features, np.eye(self.DIMENSIONS + 1))

    attributes = {
        "__module__": module,
        "VERSION": tfds.core.Version("1.0.0"),
        "SCHEMA": LandmarkSchema(names),
        "_split_generators": lambda self, dl_manager: {"train": generate(self)},
    }
    cls = type("Dots", (LandmarkBuilder,), attributes, skip_registration=True)
    cls.pkg_dir_path = tfds.core.Path(__file__).parent  # there is no such module
    return cls


def quiet_prepare(cls, folder, **options):
    return prepare(cls, folder, report=lambda line: None, **options)


READS = [
    lambda cls, folder: quiet_prepare(cls, folder),
    lambda cls, folder: cls(data_dir=folder).is_prepared(),
    lambda cls, folder: cls(data_dir=folder).read_split("train"),
    lambda cls, folder: cls(data_dir=folder).as_dataset(split="train"),
    lambda cls, folder: cls(data_dir=folder).as_data_source("train"),
]


@pytest.mark.parametrize("read", READS)
def test_a_set_of_another_class_is_rejected(tmp_path, read):
    first = dots_class("my_parts")
    other = dots_class("other_parts", ("nasion", "sella"))
    quiet_prepare(first, tmp_path)
    with pytest.raises(ValueError, match="dots/1.0.0 .*my_parts:Dots.*left, right"):
        read(other, tmp_path)
    with pytest.raises(
        ValueError,
        match="Received: other_parts:Dots with .*nasion, sella. Rename .*"
        "prepare other_parts:Dots --overwrite`",
    ):
        read(other, tmp_path)
    read(first, tmp_path)


def test_another_class_with_the_same_landmarks_is_rejected(tmp_path):
    quiet_prepare(dots_class("my_parts"), tmp_path)
    with pytest.raises(
        ValueError, match="by my_parts:Dots. Received: other_parts:Dots"
    ):
        dots_class("other_parts")(data_dir=tmp_path).is_prepared()
    # The same file, imported from the folder above it.
    assert dots_class("project.my_parts")(data_dir=tmp_path).is_prepared()


def test_overwrite_replaces_the_set_of_another_class(tmp_path):
    quiet_prepare(dots_class("my_parts"), tmp_path)
    other = dots_class("other_parts", ("nasion", "sella"))
    builder = quiet_prepare(other, tmp_path, overwrite=True)
    assert builder.is_prepared()
    assert builder.SCHEMA.names == ("nasion", "sella")


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"SCHEMA": LandmarkSchema(("left", "middle"))}, "landmarks left, middle"),
        ({"SCHEMA": LandmarkSchema(("left",))}, "landmarks left"),
        ({"DIMENSIONS": 3}, "3 dimensions"),
        ({"IMAGE_DTYPE": "uint16"}, "uint16 images"),
        ({"OBSERVERS": ("senior",)}, "observers senior"),
        (
            {"OBSERVERS": ("senior",), "GROUND_TRUTHS": ("agreed",)},
            "observers senior and the ground truths agreed",
        ),
    ],
)
def test_a_changed_class_needs_another_version(tmp_path, changes, received):
    cls = dots_class("my_parts")
    quiet_prepare(cls, tmp_path)
    for attribute, value in changes.items():
        setattr(cls, attribute, value)
    builder = cls(data_dir=tmp_path)
    with pytest.raises(ValueError, match=f"Received: .*{received}.*VERSION"):
        builder.is_prepared()


def test_links_may_be_changed(tmp_path):
    cls = dots_class("my_parts")
    quiet_prepare(cls, tmp_path)
    cls.SCHEMA = LandmarkSchema(("left", "right"), links=((0, 1),))
    assert cls(data_dir=tmp_path).is_prepared()


def test_training_does_not_read_the_set_of_a_changed_class(tmp_path, monkeypatch):
    module = "tests_description_parts"
    cls = dots_class(module)
    quiet_prepare(cls, tmp_path)
    cls.SCHEMA = LandmarkSchema(("nasion", "sella", "menton"))
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(Dots=cls))
    with pytest.raises(ValueError, match="Received: .*nasion, sella, menton"):
        prepared_builder(f"{module}:Dots", tmp_path)


@pytest.fixture
def old_set(tmp_path):
    """A set as version 0.1 prepared it, without a class."""
    quiet_prepare(dots_class("my_parts"), tmp_path)
    path = tmp_path / "dots" / "1.0.0" / "metadata.json"
    stored = json.loads(path.read_text("utf-8"))
    del stored["class"]
    path.write_text(json.dumps(stored), "utf-8")
    return tmp_path


def test_a_set_without_a_class_is_read_by_its_landmarks(old_set):
    assert dots_class("other_parts")(data_dir=old_set).is_prepared()
    with pytest.raises(ValueError, match="Received: other_parts:Dots.*nasion"):
        dots_class("other_parts", ("nasion", "sella"))(data_dir=old_set).is_prepared()


def test_a_set_without_description_is_read(old_set):
    (old_set / "dots" / "1.0.0" / "metadata.json").unlink()
    assert dots_class("my_parts")(data_dir=old_set).is_prepared()


def test_builders_of_the_package_store_no_class(tmp_path):
    cls = dots_class("scn_keras.datasets.dots.dots_dataset_builder")
    builder = quiet_prepare(cls, tmp_path)
    stored = json.loads((Path(builder.data_dir) / "metadata.json").read_text("utf-8"))
    assert "class" not in stored
    assert cls(data_dir=tmp_path).is_prepared()
    quiet_prepare(dots_class("my_parts"), tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="by my_parts:Dots. Received: Dots"):
        cls(data_dir=tmp_path).is_prepared()


def test_of_long_lists_the_difference_is_shown(tmp_path):
    names = tuple(f"p{n}" for n in range(30))
    quiet_prepare(dots_class("my_parts", names), tmp_path)
    other = dots_class("my_parts", (*names[:20], "new", *names[21:]))
    with pytest.raises(ValueError, match=r"Received: .* \.\.\., p19, new, p21, .*\."):
        other(data_dir=tmp_path).is_prepared()


def test_a_set_that_is_not_there_gives_no_warning(tmp_path, caplog):
    assert not dots_class("my_parts")(data_dir=tmp_path).is_prepared()
    assert caplog.text == ""
