import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

import scn_keras.datasets
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema

REPOSITORY = Path(__file__).parents[2]
POINTS = np.array([[1.5, 2.0], [np.nan, np.nan], [0.0, 9.0]])


class Dots(LandmarkBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a", "b", "c"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for n in range(3):
            image = np.full((10 + n, 8), n, np.uint8)
            yield (
                f"{n}",
                self.sample(f"{n}", image, {"points": POINTS + n}, np.eye(3), "p"),
            )


class SeenTwice(Dots, skip_registration=True):
    OBSERVERS = ("first", "second")


def test_stored_features(tmp_path):
    features = Dots(data_dir=tmp_path).info.features
    assert sorted(features) == ["affine", "group", "id", "image", "points"]
    assert features["image"].shape == (None, None, 1)
    assert features["image"].dtype == np.uint8
    assert features["image"].encoding_format == "png"
    assert features["points"].shape == (3, 2)
    assert features["affine"].shape == (3, 3)
    assert features["points"].dtype == features["affine"].dtype == np.float32


def test_each_observer_has_its_points(tmp_path):
    builder = SeenTwice(data_dir=tmp_path)
    assert builder.point_features() == ("points_first", "points_second")
    assert "points" not in builder.info.features
    assert builder.info.features["points_second"].shape == (3, 2)


def test_samples_come_back_as_they_were(tmp_path):
    builder = Dots(data_dir=tmp_path)
    builder.download_and_prepare()
    samples = {s["id"]: s for s in tfds.as_numpy(builder.as_dataset(split="train"))}
    assert sorted(samples) == [b"0", b"1", b"2"]
    sample = samples[b"2"]
    assert sample["group"] == b"p"
    np.testing.assert_array_equal(sample["image"], np.full((12, 8, 1), 2, np.uint8))
    np.testing.assert_array_equal(sample["points"], POINTS + 2)
    np.testing.assert_array_equal(sample["affine"], np.eye(3))


def test_a_sample_is_its_own_group_unless_said(tmp_path):
    sample = Dots(data_dir=tmp_path).sample(
        "7", np.zeros((4, 4, 1), np.uint8), {"points": POINTS}, np.eye(3)
    )
    assert sample["group"] == "7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint16)}, r"'7' must be a uint8 .*uint16 \(4"),
        ({"image": np.zeros((4, 4, 3), np.uint8)}, r"Received: uint8 \(4, 4, 3\)"),
        ({"points": {"points": POINTS[:2]}}, r"each of the 3 landmarks.*\(2, 2\)"),
        ({"points": {"points_x": POINTS}}, r"needs the points \['points'\].*points_x"),
    ],
)
def test_wrong_samples_are_refused(tmp_path, change, message):
    good = {
        "id": "7",
        "image": np.zeros((4, 4), np.uint8),
        "points": {"points": POINTS},
        "affine": np.eye(3),
    }
    with pytest.raises(ValueError, match=message):
        Dots(data_dir=tmp_path).sample(**{**good, **change})


def test_a_builder_without_schema_is_refused():
    with pytest.raises(TypeError, match="needs a `SCHEMA`.*class .*Nameless"):

        class Nameless(LandmarkBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            _split_generators = Dots._split_generators
            _generate_examples = Dots._generate_examples


def test_metadata_are_looked_for_beside_the_class():
    assert Path(Dots.code_path) == Path(__file__)
    assert Path(Dots.pkg_dir_path) == Path(__file__).parent


def test_builders_are_found_by_name():
    assert {"cephalogram", "synthetic_hand"} <= set(scn_keras.datasets.builder_names())
    builder = scn_keras.datasets.builder_class("cephalogram")
    assert builder.name == "cephalogram"
    assert issubclass(builder, LandmarkBuilder)
    assert scn_keras.datasets.LandmarkBuilder is LandmarkBuilder


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="name='knee'. Known names: cephalogram, syn"):
        scn_keras.datasets.builder_class("knee")
    with pytest.raises(AttributeError, match="no attribute 'knee'"):
        scn_keras.datasets.knee  # noqa: B018


@pytest.mark.parametrize("name", scn_keras.datasets.builder_names())
def test_every_builder_has_its_files_and_valid_tags(name):
    builder = scn_keras.datasets.builder_class(name)
    metadata = builder.get_metadata()
    assert metadata.description
    assert "@" in metadata.citation
    assert metadata.tags
    assert set(metadata.tags) <= set(tfds.core.dataset_metadata.valid_tags())
    assert len(builder.SCHEMA) > 0


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("scn_keras.datasets", ["tensorflow", "tensorflow_datasets", "keras"]),
        ("scn_keras.datasets.cephalogram", ["tensorflow", "keras", "SimpleITK"]),
    ],
)
def test_importing_is_light(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert out.stdout.strip() == "[]"
