import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from scn_keras.datasets import DatasetFolderError, prepare
from scn_keras.datasets.case import Case
from scn_keras.datasets.check.check_folder import check_folder
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema


class Dots(LandmarkBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a",))
    values = staticmethod(lambda self: ())
    splits = staticmethod(lambda self: {"train": self._generate_examples()})

    def _split_generators(self, dl_manager):
        return type(self).splits(self)

    def _generate_examples(self):
        yield from type(self).values(self)


def sample(self, id):
    return self.sample(id, np.zeros((4, 4), "uint8"), {"points": [[1, 1]]}, np.eye(3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda self: [sample(self, "0")], "Dots must yield .*Received: dict"),
        (lambda self: ["0"], "Dots must yield .*Received: str"),
        (lambda self: [("0", None)], r"Dots must yield .*Received: \(str, None"),
        (lambda self: [(0.5, sample(self, "0"))], r"must yield .*\(float, dict\)"),
        (
            lambda self: [(n, sample(self, "same")) for n in range(16)],
            "The id 'same' is given to 16 samples",
        ),
        (
            lambda self: [("same", sample(self, str(n))) for n in range(3)],
            "The key 'same' is given to 3 samples",
        ),
    ],
)
def test_wrong_examples_are_named(tmp_path, monkeypatch, values, message):
    monkeypatch.setattr(Dots, "values", values)
    with pytest.raises(ValueError, match=message):
        prepare(Dots, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_ids_are_unique_within_all_splits(tmp_path, monkeypatch):
    def splits(self):
        return {name: iter([(0, sample(self, "same"))]) for name in ("train", "test")}

    monkeypatch.setattr(Dots, "splits", splits)
    with pytest.raises(ValueError, match="id 'same' is given to 2 samples"):
        prepare(Dots, tmp_path / "tfds")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (lambda self: None, "_split_generators` of Dots .*Received: None"),
        (lambda self: {"train": None}, "_generate_examples` of Dots .*Received: None"),
    ],
)
def test_wrong_splits_are_named(tmp_path, monkeypatch, splits, message):
    monkeypatch.setattr(Dots, "splits", splits)
    with pytest.raises(ValueError, match=message):
        prepare(Dots, tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_a_method_of_the_builder_is_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(Dots, "values", lambda self: [(0, sample(self, "0"))])
    builder = Dots(data_dir=tmp_path)
    builder.download_and_prepare()
    assert "_split_generators" not in vars(builder)


class Films(LandmarkBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("a",))
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Any folder."
    values = staticmethod(lambda folder: None)

    def cases(self, folder, problems=None):
        return type(self).values(folder)


@pytest.mark.parametrize(
    ("values", "received"),
    [
        (lambda folder: None, "None"),
        (lambda folder: [("0", "train")], "tuple"),
        (lambda folder: ["0"], "str"),
    ],
)
def test_wrong_cases_are_named(tmp_path, monkeypatch, values, received):
    monkeypatch.setattr(Films, "values", values)
    with pytest.raises(
        ValueError, match=f"`cases` of Films must yield Case.*Received: {received}"
    ):
        prepare(Films, tmp_path / "tfds", tmp_path)
    assert not (tmp_path / "tfds").exists()


def test_ids_of_cases_are_unique(tmp_path, monkeypatch):
    case = Case("same", "", "", tmp_path, (), {}, None)
    monkeypatch.setattr(Films, "values", lambda folder: [case] * 3)
    with pytest.raises(DatasetFolderError, match="id 'same' is given to 3 samples"):
        prepare(Films, tmp_path / "tfds", tmp_path)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[1, 2], [np.nan, np.nan]], "No image has a point of 'b'. Mark the landmark"),
        ([[np.nan, np.nan]] * 2, "No image has a point: all landmarks of 3 images"),
    ],
)
def test_cases_without_a_point_of_a_landmark(tmp_path, monkeypatch, points, message):
    image = tmp_path / "film.png"
    Image.new("L", (8, 8)).save(image)
    monkeypatch.setattr(Films, "SCHEMA", LandmarkSchema(("a", "b")))
    cases = [
        Case(str(n), "", "", image, (), {"points": np.array(points)}, np.eye(3))
        for n in range(3)
    ]
    monkeypatch.setattr(Films, "values", lambda folder: cases)
    with pytest.raises(DatasetFolderError, match=message):
        prepare(Films, tmp_path / "tfds", tmp_path)
    findings = check_folder(tmp_path, f"{__name__}:Films").findings
    errors = [f.message for f in findings if f.severity == "error"]
    assert any(error.startswith(message) for error in errors)
