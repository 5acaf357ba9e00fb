import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds
from PIL import Image

from scn_keras.datasets import DatasetFolderError, builder_class, prepare
from scn_keras.datasets.hand_xray import Builder
from scn_keras.geometry import spacing_of

DUMMY_DATA = Path(Builder.code_path).parent / "dummy_data"
needs_dummy_data = pytest.mark.skipif(
    not DUMMY_DATA.is_dir(), reason="dummy data are in the repository, not in a wheel"
)


class TinyHandXray(Builder):
    """The published setup with three small folds."""

    FOLD_SIZES = (2, 2, 3)
    UNUSED = frozenset({"109"})


TinyHandXray.pkg_dir_path = Builder.pkg_dir_path

FOLDS = {"1": ["104", "101"], "2": ["102", "105"], "3": ["103", "106", "107"]}
IDS = [*(str(id) for id in range(101, 108)), "109"]  # 109 is in no fold.


def points_of(id):
    """37 points, the second and the sixth 20 to 28 pixels apart."""
    points = np.stack([np.arange(37) % 29, np.arange(37)], axis=1) + (0, 1)
    points[1] = (2, 30)
    points[5] = (22 + int(id) % 8, 30)
    return points


def image_of(id):
    rows, columns = np.indices((40 + int(id) % 7, 30 + int(id) % 3))
    return (rows * 3 + columns * 2 + int(id)).astype(np.uint8)


def write_folder(folder):
    """Draws what dummy_data holds: a published setup and images in two folders."""
    for id in IDS:
        path = folder / ("films" if int(id) % 2 else "more/films") / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_of(id)).save(path)
    files = {
        "all.csv": [",".join([id, *map(str, points_of(id).ravel())]) for id in IDS],
        "cv_rand/10/1/set1/train.txt": ["102", "107"],
        "cv_rand/10/2/set3/train.txt": ["105"],
    }
    for fold, ids in FOLDS.items():
        files[f"cv/set{fold}/test.txt"] = ids
    for name, lines in files.items():
        path = folder / "setup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "hands")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "tfds"


@needs_dummy_data
class TestHandXray(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = TinyHandXray
    EXAMPLE_DIR = DUMMY_DATA
    SPLITS = {"fold1": 2, "fold2": 2, "fold3": 3}


@needs_dummy_data
def test_dummy_data_are_drawn(tmp_path):
    drawn = write_folder(tmp_path / "dummy_data")
    names = {p.relative_to(drawn) for p in drawn.rglob("*") if p.is_file()}
    assert names == {
        p.relative_to(DUMMY_DATA) for p in DUMMY_DATA.rglob("*") if p.is_file()
    }
    for name in names:
        if name.suffix == ".png":
            here, there = (Image.open(path / name) for path in (drawn, DUMMY_DATA))
            np.testing.assert_array_equal(here, there)
        else:
            assert (drawn / name).read_text() == (DUMMY_DATA / name).read_text()


def test_prepared_set_holds_the_files(folder, root):
    lines = []
    builder = prepare(TinyHandXray, root, folder, report=lines.append)
    assert lines == [
        "Images in no fold are left out: 1.",
        "tiny_hand_xray/1.0.0 (fold1 2, fold2 2, fold3 3): prepared in "
        f"{builder.data_dir}",
    ]
    splits = tfds.load("tiny_hand_xray", data_dir=root)
    assert sorted(splits) == ["fold1", "fold2", "fold3"]
    for split, samples in splits.items():
        found = {s["id"].decode(): s for s in tfds.as_numpy(samples)}
        assert sorted(found) == sorted(FOLDS[split[-1]])
        for id, sample in found.items():
            assert sample["group"] == sample["id"]
            np.testing.assert_array_equal(sample["image"][..., 0], image_of(id))
            np.testing.assert_array_equal(sample["points"], points_of(id))
            spacing = 50 / (20 + int(id) % 8)
            np.testing.assert_allclose(
                sample["affine"], np.diag([spacing, spacing, 1]), rtol=1e-6
            )


def test_training_on_the_other_folds_and_on_reduced_lists(folder, root):
    prepare(TinyHandXray, root, folder, report=lambda line: None)
    expected = {
        "fold1+fold3": {"101", "104", "103", "106", "107"},
        "fold1_train_10_1": {"102", "107"},
        "fold3_train_10_2": {"105"},
    }
    for split, ids in expected.items():
        samples = tfds.load("tiny_hand_xray", data_dir=root, split=split)
        assert {s["id"].decode() for s in tfds.as_numpy(samples)} == ids


def test_formats_and_places_of_images(folder, root):
    films = folder / "films"
    Image.open(films / "101.png").save(films / "101.JPEG", quality=100)
    volume = sitk.GetImageFromArray(image_of("103")[None])
    volume.SetSpacing((9.0, 9.0, 9.0))
    sitk.WriteImage(volume, str(folder / "more/103.mha"))
    Image.fromarray(np.stack([image_of("105")] * 3, axis=-1)).save(folder / "105.png")
    for id in ("101", "103", "105"):
        (films / f"{id}.png").unlink()
    (folder / "films/readme.png").write_text("no image")
    (folder / "setup").rename(folder / "more/published")
    prepare(TinyHandXray, root, folder)
    samples = tfds.load("tiny_hand_xray", data_dir=root, split="fold1+fold2+fold3")
    found = {s["id"].decode(): s for s in tfds.as_numpy(samples)}
    assert sorted(found) == IDS[:-1]
    for id in ("103", "105"):
        np.testing.assert_array_equal(found[id]["image"][..., 0], image_of(id))
        # By the rule, whatever the header says.
        spacing = 50 / (20 + int(id) % 8)
        np.testing.assert_allclose(spacing_of(found[id]["affine"]), spacing, rtol=1e-6)
    difference = found["101"]["image"][..., 0].astype(int) - image_of("101")
    assert np.abs(difference).max() <= 3


def test_some_of_the_images(folder, root):
    for id in ("101", "102", "105", "109"):
        next(folder.rglob(f"{id}.png")).unlink()
    lines = []
    builder = prepare(TinyHandXray, root, folder, report=lines.append)
    assert lines == [
        "The split 'fold1' is incomplete: it has 1 of 2 images.",
        "The split 'fold2' is left out: all 2 images are missing.",
        "Published lists with missing images are left out: "
        "fold1_train_10_1 (1 of 2), fold3_train_10_2 (1 of 1).",
        "tiny_hand_xray/1.0.0 (fold1 1, fold3 3): prepared in " + builder.data_dir,
    ]
    assert TinyHandXray(data_dir=root).SUBSETS == {}
    assert builder.info.metadata["notes"] == lines[:-1]


def problems_of(folder, root):
    with pytest.raises(DatasetFolderError) as caught:
        prepare(TinyHandXray, root, folder)
    assert not root.exists()
    return list(caught.value.problems)


def edit(path, line, text):
    lines = path.read_text().split("\n")
    lines[line] = text
    path.write_text("\n".join(lines))


def test_faults_of_the_setup(folder, root):
    setup = folder / "setup"
    rows = (setup / "all.csv").read_text().split()
    edit(setup / "all.csv", 0, "101,1,2,x")
    edit(setup / "all.csv", 1, "888" + rows[1].removeprefix("102"))
    flat = ["103", *["7"] * 74]
    edit(setup / "all.csv", 2, ",".join(flat))
    edit(setup / "cv/set2/test.txt", 1, "104")
    edit(setup / "cv/set3/test.txt", 2, "")
    shutil.copy(folder / "films/105.png", folder / "105.png")
    problems = problems_of(folder, root)
    expected = [
        "The image 105 has more than one file: 105.png, films/105.png.",
        "setup/all.csv, line 1 must be an id and 74 finite numbers. Received: '101,1",
        "setup/cv/set3/test.txt must have 3 ids. Received: 2.",
        "in two folds: 104.",
        "setup/all.csv has no rows for 101, 102.",
        "among the 1 known unused ones: 105, 107, 888.",
        "setup/all.csv: the landmarks 2 and 6 of 103 must have different positions",
    ]
    for text in expected:
        assert sum(text in problem for problem in problems) == 1, (text, problems)
    assert len(problems) == len(expected), problems


def test_a_setup_that_is_missing_or_doubled(folder, root):
    (folder / "setup/cv/set3/test.txt").unlink()
    (problem,) = problems_of(folder, root)
    assert problem == "setup/cv/set3/test.txt is missing."
    shutil.copytree(folder / "setup", folder / "again")
    (problem,) = problems_of(folder, root)
    assert "more than one all.csv: again/all.csv, setup/all.csv." in problem
    shutil.rmtree(folder / "setup")
    (folder / "again/all.csv").unlink()
    (problem,) = problems_of(folder, root)
    assert "no all.csv" in problem


def test_no_image(folder, root):
    for path in list(folder.rglob("*.png")):
        if path.stem != "109":
            path.unlink()
    (problem,) = problems_of(folder, root)
    assert "no image of any fold" in problem


def test_faults_of_images(folder, root):
    films = folder / "films"
    (films / "101.png").write_bytes((films / "101.png").read_bytes()[:-30])
    Image.fromarray(image_of("103")[:20, :15]).save(films / "103.png")
    Image.fromarray(image_of("105").astype(np.uint16)).save(films / "105.png")
    (films / "107.png").write_bytes(b"")
    problems = problems_of(folder, root)
    assert len(problems) == 4
    for id, text in {
        "101": "films/101.png",
        "103": "x = 29, y = 37. Received: 15 x 20 pixels.",
        "105": "films/105.png",
        "107": "empty (0 bytes): films/107.png",
    }.items():
        assert sum(text in problem for problem in problems) == 1, (id, problems)
    assert any("uint8" in problem and "uint16" in problem for problem in problems)


def test_cases_of_a_faulty_folder(folder, tmp_path):
    edit(folder / "setup/all.csv", 0, "101,1,2,x")
    builder = TinyHandXray(data_dir=tmp_path)
    with pytest.raises(DatasetFolderError, match="2 problems"):
        builder.cases(folder)
    problems = []
    cases = builder.cases(folder, problems)
    assert [case.id for case in cases] == ["104", "102", "105", "103", "106", "107"]
    assert len(problems) == 2
    assert cases[0].points_paths == (folder / "setup/all.csv",)
    assert cases[0].image_path == folder / "more/films/104.png"


def test_official_constants():
    assert builder_class("hand_xray") is Builder
    assert len(Builder.SCHEMA) == 37
    assert sum(Builder.FOLD_SIZES) == 895
    assert len(Builder.UNUSED) == 15
    assert "never set the network's grid" in Builder.SPACING_RULE
    readme = (Path(Builder.code_path).parent / "README.md").read_text()
    assert all(id in readme for id in Builder.UNUSED)


def test_the_real_setup_is_the_published_one(shared_data, tmp_path):
    builder = Builder(data_dir=tmp_path)
    folder = shared_data / "hand"
    assert builder.layout_problems(folder) == []
    notes = builder.folder_notes(folder)
    assert notes[:3] == [
        "The split 'fold1' is incomplete: it has 36 of 298 images.",
        "The split 'fold2' is incomplete: it has 47 of 298 images.",
        "The split 'fold3' is left out: all 299 images are missing.",
    ]
    # 18 reduced lists: three sizes, two draws, three folds.
    assert notes[3].count(" of 10)") == notes[3].count(" of 100)") == 6
    assert notes[3].count("fold2_train_") == 6
    assert len(notes) == 4


def test_real_headers_hold_the_spacing_of_the_rule(shared_data, tmp_path):
    builder = Builder(data_dir=tmp_path)
    headers = {}
    for case in builder.cases(shared_data / "hand"):
        if case.image_path.suffix == ".mha":
            header = sitk.ReadImage(str(case.image_path)).GetSpacing()
            headers[case.id] = header[0]
            np.testing.assert_allclose(spacing_of(case.affine), header[:2], rtol=1e-5)
            image, _ = builder.read_image(case)
            assert image.dtype == np.uint8
    assert sorted(headers) == ["7081", "7088", "7232", "7236"]
    assert headers["7081"] == pytest.approx(0.147323)
