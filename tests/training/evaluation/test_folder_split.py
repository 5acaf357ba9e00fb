"""A run scored on a folder that is not prepared."""

import dataclasses
import io
import json
import re

import numpy as np
import pytest
import rich.console
from PIL import Image

from scn_keras.datasets import DatasetFolderError, prepare
from scn_keras.files import PointSet, write_points
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.evaluation.evaluate import evaluate
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.points_table import read_points
from scn_keras.training.report.page import write_report
from scn_keras.training.run import Run

NAN = np.nan
# x, y in the order of the folder's labels, which is not that of the run.
POINTS = {
    "A": [[10.0, 20.0], [30.5, 41.0], [22.0, 60.0]],
    "B": [[12.0, 25.0], [NAN, NAN], [20.0, 66.0]],
    "C": [[14.0, 18.0], [33.0, 40.0], [25.0, 61.5]],
}


def quiet():
    return rich.console.Console(file=io.StringIO(), width=80)


def write_folder(folder, names, toml="[files]\nspacing = [0.5, 0.25]\n"):
    folder.mkdir()
    random = np.random.default_rng(0)
    for id in POINTS:
        image = random.integers(0, 255, (90, 50), np.uint8)
        Image.fromarray(image).save(folder / f"{id}.png")
    sets = [PointSet(names, points, image=id) for id, points in POINTS.items()]
    write_points(folder / "points.csv", sets, layout="wide")
    (folder / "landmarks.toml").write_text(toml)
    return folder


@pytest.fixture
def names(finished):
    """Those of the run, backwards."""
    return finished.schema.names[::-1]


@pytest.fixture
def run(finished, tmp_path):
    """A run of its own, with the model of the finished one."""
    copy = Run.create(tmp_path / "run", finished.recipe, finished.schema)
    copy.load_model = finished.load_model
    return copy


def test_points_are_those_of_the_run_by_name(names, finished, tmp_path):
    folder = write_folder(tmp_path / "films", names)
    images = FolderSplit(folder, finished.schema, 2)
    samples = list(images.samples().as_numpy_iterator())
    assert [sample["id"] for sample in samples] == [b"A", b"B", b"C"]
    for sample, points in zip(samples, POINTS.values(), strict=True):
        np.testing.assert_array_equal(sample["points"], points[::-1])
        np.testing.assert_array_equal(sample["affine"], np.diag([0.5, 0.25, 1.0]))
        assert sample["image"].shape == (90, 50, 1)
        (found,) = images.find([sample["id"].decode()]).values()
        np.testing.assert_array_equal(found["image"], sample["image"])
    assert len(images.samples()) == 3


def test_files_that_cannot_be_read_are_left_out_on_request(names, finished, tmp_path):
    folder = write_folder(tmp_path / "films", names)
    image = folder / "B.png"
    image.write_bytes(image.read_bytes()[:900])
    with pytest.raises(DatasetFolderError, match=r"B\.png"):
        FolderSplit(folder, finished.schema, 2)
    left_out = []
    images = FolderSplit(folder, finished.schema, 2, left_out=left_out)
    assert [*images.cases] == ["A", "C"]
    assert len(left_out) == 1 and "B.png" in left_out[0]
    samples = images.samples().as_numpy_iterator()
    assert [sample["id"] for sample in samples] == [b"A", b"C"]


def test_it_is_as_if_the_folder_were_prepared(run, names, tmp_path):
    folder = write_folder(tmp_path / "films", names)
    # In the run's order, which a prepared set must have from the beginning.
    own = f"names = {json.dumps(run.schema.names)}\n"
    toml = folder / "landmarks.toml"
    toml.write_text(own + toml.read_text())
    (result,) = evaluate(run, folder=folder, console=quiet())
    prepare("landmark_folder", tmp_path / "p", folder, config="films")
    other = Run(run.path)
    other.load_model = run.load_model
    dataset = {"dataset": "landmark_folder/films", "test_split": "train"}
    other.recipe = dataclasses.replace(run.recipe, **dataset)
    (prepared,) = evaluate(other, data_dir=tmp_path / "p", console=quiet())
    unlike = ("protocol", "seconds")
    assert {k: v for k, v in result.items() if k not in unlike} == {
        k: v for k, v in prepared.items() if k not in unlike
    }
    protocols = result["protocol"], prepared["protocol"]
    differ = {k for k in protocols[0] if protocols[0][k] != protocols[1][k]}
    assert differ == {"dataset", "split", "command"}


def test_protocol_and_files_of_a_folder(run, names, tmp_path):
    folder = write_folder(tmp_path / "films", names)
    (result,) = evaluate(run, folder=folder, console=quiet())
    protocol = result["protocol"]
    assert protocol["dataset"].startswith("folder/films/")
    assert protocol["split"] == "folder_films"
    assert protocol["spacing"].endswith("0.5 x 0.25 mm per pixel (landmarks.toml)")
    assert protocol["command"][-2:] == ["--folder", str(folder)]
    assert result["n_images"] == 3
    assert result["n_points"] == 8
    path = run.path / "results" / "folder_films.json"
    assert json.loads(path.read_text()) == result
    assert list(read_points(run, "folder_films")) == ["A", "B", "C"]

    # Corrected points are another data set, of which numbers are not compared.
    table = folder / "points.csv"
    table.write_text(table.read_text().replace("41", "43"))
    (corrected,) = evaluate(run, folder=folder, console=quiet())
    assert corrected["protocol"]["dataset"] != protocol["dataset"]


def test_a_split_of_a_folder(run, names, tmp_path):
    lists = "[splits]\nold = ['A', 'B']\nnew = ['C']\n"
    folder = write_folder(tmp_path / "films", names, lists)
    (result,) = evaluate(run, "new", folder=folder, console=quiet())
    assert result["ids"] == ["C"]
    assert result["protocol"]["split"] == "folder_films_new"
    assert result["protocol"]["unit"] == "px"  # of PNG files, and no spacing is said
    with pytest.raises(ValueError, match=r"splits \['new', 'old'\]. Received: .*'no'"):
        evaluate(run, "no", folder=folder, console=quiet())


def test_names_that_the_run_has_not(run, tmp_path):
    first, second, third = run.schema.names
    folder = write_folder(tmp_path / "films", (first, second, "midle"))
    with pytest.raises(
        ValueError, match=f"without points: {third}. Received unknown .*: midle"
    ):
        evaluate(run, folder=folder, console=quiet())


def test_landmarks_that_the_folder_has_not(run, finished, names, tmp_path):
    folder = write_folder(tmp_path / "films", names)
    more = LandmarkSchema((*finished.schema.names, "tip"))
    images = FolderSplit(folder, more, 2)
    assert images.absent == ["tip"]
    (sample, *_) = images.samples().as_numpy_iterator()
    assert np.isnan(sample["points"][3]).all()


def test_a_wrong_folder(run, finished, names, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*folder=.*nowhere"):
        evaluate(run, folder=tmp_path / "nowhere")
    folder = write_folder(tmp_path / "films", names)
    with pytest.raises(ValueError, match="with 3 axes. Received: images with 2 axes"):
        FolderSplit(folder, finished.schema, 3)
    (folder / "B.png").write_bytes((folder / "B.png").read_bytes()[:2000])
    with pytest.raises(DatasetFolderError, match=r"B\.png"):
        evaluate(run, folder=folder, console=quiet())
    assert not (run.path / "results").exists()


def test_report_in_pixels(finished, names, tmp_path):
    folder = write_folder(tmp_path / "films", names, "")
    run = Run.create(tmp_path / "run", finished.recipe, finished.schema)
    run.model_path.write_bytes(finished.model_path.read_bytes())
    (result,) = evaluate(run, folder=folder, console=quiet())
    path = write_report(run, folder=folder, path=tmp_path / "page.html", worst=1)
    page = path.read_text("utf-8")
    assert path == tmp_path / "page.html"
    assert not (run.path / "report.html").exists()
    assert f"<b>{result['mre_px']:.2f} px</b>" in page
    assert f"{result['sdr_percent']['10']:.1f} % of points within 10 px" in page
    assert not re.search(r"\d mm|, mm", page)
    assert page.count("px on average") == 4  # one of the worst, three of the best
