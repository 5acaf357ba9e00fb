import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import scn_keras.datasets
from scn_keras.datasets import DatasetFolderError, prepare
from scn_keras.datasets.case import Case
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema

REPOSITORY = Path(__file__).parents[2]
POINTS = np.array([[1.5, 2.0], [np.nan, np.nan], [0.0, 9.0]])
WHOLE = np.nan_to_num(POINTS, nan=5.0)


class Dots(LandmarkBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a", "b", "c"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for n in range(3):
            image = np.full((10 + n, 8), n, np.uint8)
            points = {"points": (WHOLE if n == 0 else POINTS) + n}
            yield f"{n}", self.sample(f"{n}", image, points, np.eye(3), "p")


class SeenTwice(Dots, skip_registration=True):
    OBSERVERS = ("first", "second")

    def _generate_examples(self):
        points = {"points_first": POINTS, "points_second": WHOLE + 1}
        image = np.zeros((4, 4), np.uint8)
        yield "0", self.sample("0", image, points, np.eye(3))


def test_stored_features(tmp_path):
    features = Dots(data_dir=tmp_path).info.features
    assert sorted(features) == ["affine", "group", "id", "image", "points"]
    assert features["image"].shape == (None, None, 1)
    assert features["image"].dtype == np.uint8
    assert features["image"].encoding_format == "png"
    assert features["points"].shape == (3, 2)
    assert features["affine"].shape == (3, 3)
    assert features["points"].dtype == features["affine"].dtype == np.float32


class Blocks(Dots, skip_registration=True):
    """Volumes, seen by two and agreed on by both."""

    DIMENSIONS = 3
    IMAGE_DTYPE = "int16"
    OBSERVERS = ("first", "second")
    GROUND_TRUTHS = ("agreed",)

    def _generate_examples(self):
        points = np.arange(9.0).reshape(3, 3)
        named = {"first": points, "second": points + 1, "agreed": points + 2}
        yield (
            "0",
            self.sample(
                "0",
                np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 7,
                {f"points_{name}": points for name, points in named.items()},
                np.diag([0.5, 0.5, 2.0, 1.0]),
            ),
        )


def test_volumes(tmp_path):
    builder = Blocks(data_dir=tmp_path)
    assert builder.info.features["image"].shape == (None, None, None, 1)
    builder.download_and_prepare()
    streamed = builder.as_dataset(split="train").as_numpy_iterator()
    for sample in (next(streamed), builder.as_data_source("train")[0]):
        expected = np.arange(24).reshape(2, 3, 4, 1) - 7
        np.testing.assert_array_equal(sample["image"], expected)
        assert sample["image"].dtype == np.int16
        np.testing.assert_array_equal(
            sample["points_agreed"], sample["points_first"] + 2
        )
        assert sample["points_agreed"].shape == (3, 3)
        np.testing.assert_array_equal(sample["affine"], np.diag([0.5, 0.5, 2.0, 1.0]))


class Bright(Dots, skip_registration=True):
    IMAGE_DTYPE = "uint16"

    def _generate_examples(self):
        image = np.array([[0, 65535], [300, 7]], np.uint16)
        yield "0", self.sample("0", image, {"points": WHOLE}, np.eye(3))


def test_images_of_16_bits(tmp_path):
    builder = Bright(data_dir=tmp_path)
    builder.download_and_prepare()
    streamed = builder.as_dataset(split="train").as_numpy_iterator()
    for sample in (next(streamed), builder.as_data_source("train")[0]):
        assert sample["image"].dtype == np.uint16
        np.testing.assert_array_equal(sample["image"][..., 0], [[0, 65535], [300, 7]])


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


def test_wrong_volumes_are_refused(tmp_path):
    builder = Blocks(data_dir=tmp_path)
    points = dict.fromkeys(builder.point_features(), np.zeros((3, 3)))
    volume = np.zeros((2, 3, 4), np.int16)
    with pytest.raises(ValueError, match=r"int16 array \(D, H, W\) or .*\(3, 4\)"):
        builder.sample("7", volume[0], points, np.eye(4))
    with pytest.raises(ValueError, match=r"one row x, y, z for each .*\(3, 2\)"):
        flat = {**points, "points_agreed": np.zeros((3, 2))}
        builder.sample("7", volume, flat, np.eye(4))
    with pytest.raises(ValueError, match=r"must be 4 x 4. Received: shape \(3, 3\)"):
        builder.sample("7", volume, points, np.eye(3))


class Pictures(LandmarkBuilder, skip_registration=True):
    """A folder that says itself which landmarks its images have."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(())
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder must hold names.txt and images."

    def describe(self, folder):
        names = tuple((folder / "names.txt").read_text().split())
        self.SCHEMA = LandmarkSchema(names, links=((0, 1),))
        self.OBSERVERS = ("nurse",)
        self.SUBSETS = {"half": ("train", frozenset({"0", "2"}))}
        self.SPACING_RULE = "guessed"

    def cases(self, folder, problems=None):
        count = len((folder / "names.txt").read_text().split())
        for path in sorted(folder.glob("*.png")):
            points = np.full((count, 2), 1.0)
            split = {"9": "test"}.get(path.stem, "")
            if problems is not None and path.stem == "8":
                problems.append(f"{path.name} is the eighth.")
            yield Case(path.stem, "p", split, path, (), {"points_nurse": points}, None)

    def folder_notes(self, folder):
        return ["A note."]


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "names.txt").write_text("left right")
    for name in "0129":
        Image.fromarray(np.full((4, 6), int(name), np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def test_what_the_folder_says_is_found_again_without_it(pictures, tmp_path):
    prepare(Pictures, tmp_path / "tfds", pictures)
    (pictures / "names.txt").unlink()
    builder = Pictures(data_dir=tmp_path / "tfds")
    assert builder.SCHEMA == LandmarkSchema(("left", "right"), links=((0, 1),))
    assert builder.OBSERVERS == ("nurse",)
    assert builder.SUBSETS == {"half": ("train", {"0", "2"})}
    assert builder.SPACING_RULE == "guessed"
    assert builder.info.metadata["notes"] == ["A note."]
    counts = {name: s.num_examples for name, s in builder.info.splits.items()}
    assert counts == {"test": 1, "train": 3}
    samples = list(builder.as_dataset(split="half").as_numpy_iterator())
    assert {sample["id"] for sample in samples} == {b"0", b"2"}
    for sample in samples:
        assert sample["group"] == b"p"
        np.testing.assert_array_equal(sample["points_nurse"], np.ones((2, 2)))
        assert (sample["image"] == int(sample["id"])).all()
        # Nobody said how large a pixel is.
        expected = np.diag([np.nan, np.nan, 1.0])
        np.testing.assert_array_equal(sample["affine"], expected)
    # The class is as it was.
    assert len(Pictures.SCHEMA) == 0
    assert len(Pictures(data_dir=tmp_path / "elsewhere").SCHEMA) == 0


def test_a_changed_folder_is_prepared_over_the_old_set(pictures, tmp_path):
    prepare(Pictures, tmp_path / "tfds", pictures)
    (pictures / "names.txt").write_text("top middle bottom")
    builder = prepare(Pictures, tmp_path / "tfds", pictures, overwrite=True)
    assert builder.SCHEMA.names == ("top", "middle", "bottom")
    sample = next(builder.as_dataset(split="test").as_numpy_iterator())
    assert sample["points_nurse"].shape == (3, 2)


def test_every_case_is_checked_before_anything_is_written(pictures, tmp_path):
    for name, pixels in {
        "3": np.zeros((4, 6), np.uint16),
        "4": np.zeros((4, 6, 3), np.uint8),
    }.items():
        Image.fromarray(pixels).save(pictures / f"{name}.png")
    (pictures / "2.png").write_bytes(b"")
    with pytest.raises(DatasetFolderError) as caught:
        prepare(Pictures, tmp_path / "tfds", pictures)
    first, second = caught.value.problems
    assert first == "The image file is empty (0 bytes): 2.png"
    assert "'3.png' must be a uint8 array" in second
    shutil.copy(pictures / "0.png", pictures / "8.png")
    with pytest.raises(DatasetFolderError, match="3 problems.*\n  - 8.png is the eig"):
        prepare(Pictures, tmp_path / "tfds", pictures)
    assert not (tmp_path / "tfds").exists()


def test_points_and_images_of_unlike_dimensions(pictures):
    path = pictures / "0.png"
    case = Case("0", "0", "", path, (), {"points": np.zeros((2, 3))}, None)
    with pytest.raises(
        ValueError, match=r"0.png must have as many axes .* 3. .*\(4, 6"
    ):
        case.read_image()
    case = Case("0", "0", "", pictures / "none.png", (), {}, None)
    with pytest.raises(ValueError, match="does not exist: .*none.png"):
        case.read_image()


def test_a_builder_that_reads_no_folder_has_no_cases(tmp_path):
    with pytest.raises(ValueError, match="'dots' reads no folder"):
        Dots(data_dir=tmp_path).cases(tmp_path)


def test_readers_without_the_code_find_what_it_says(tmp_path):
    prepare(SeenTwice, tmp_path, report=lambda line: None)
    stored = tfds.builder_from_directory(tmp_path / "seen_twice" / "1.0.0")
    metadata = dict(stored.info.metadata)
    assert LandmarkSchema.from_dict(metadata.pop("landmarks")) == SeenTwice.SCHEMA
    assert metadata == {
        "dimensions": 2,
        "image_dtype": "uint8",
        "observers": ["first", "second"],
        "ground_truths": [],
        "subsets": {},
        "spacing_rule": "as the file of each image says",
        "orientation": "refused",
        "class": f"{__name__}:SeenTwice",
    }


def test_a_builder_without_schema_is_refused():
    with pytest.raises(ValueError, match="needs a `SCHEMA`.*class .*Nameless"):

        class Nameless(LandmarkBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            _split_generators = Dots._split_generators
            _generate_examples = Dots._generate_examples


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("SCHEMA", ("a", "b")),
        ("DIMENSIONS", 4),
        ("IMAGE_DTYPE", "uint9"),
        ("OBSERVERS", "senior"),
        ("GROUND_TRUTHS", "agreed"),
    ],
)
def test_attributes_of_a_class_are_validated(attribute, value):
    received = f"{attribute}={value!r}"
    with pytest.raises(ValueError, match=f"Wrong .*Received: {re.escape(received)}"):
        type(
            "Wrong",
            (Dots,),
            {attribute: value, "__module__": __name__},
            skip_registration=True,
        )


def test_a_builder_without_version_is_refused(tmp_path):
    class Unversioned(LandmarkBuilder, skip_registration=True):
        SCHEMA = LandmarkSchema(("a",))

    with pytest.raises(ValueError, match="`VERSION`.*Received: class .*Unversioned"):
        Unversioned(data_dir=tmp_path)


def test_the_example_of_the_docstring(tmp_path, monkeypatch):
    (code,) = re.findall("```python\n(.*?)```", inspect.getdoc(LandmarkBuilder), re.S)
    (tmp_path / "docstring_example.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    knees = importlib.import_module("docstring_example").Knees
    folder = tmp_path / "knees"
    folder.mkdir()
    for name in ("one", "two"):
        Image.fromarray(np.zeros((5, 4), np.uint8)).save(folder / f"{name}.png")
        np.savetxt(folder / f"{name}.txt", [[1, 2], [3, 4]])
    builder = prepare(knees, tmp_path / "tfds", folder)
    assert Path(builder.data_dir) == tmp_path / "tfds" / "knees" / "1.0.0"
    samples = list(builder.as_dataset(split="train").as_numpy_iterator())
    assert {sample["id"] for sample in samples} == {b"one", b"two"}
    np.testing.assert_array_equal(samples[0]["points"], [[1, 2], [3, 4]])


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
    with pytest.raises(ValueError, match="name='knee'. Known names: cephalogram, "):
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
    # Of anyone's data the folder decides.
    assert len(builder.SCHEMA) > 0 or name == "landmark_folder"


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
