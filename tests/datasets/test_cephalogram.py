import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from scn_keras.datasets import DatasetFolderError, builder_class, prepare
from scn_keras.datasets.cephalogram import (
    TEST1_REPEATS,
    TEST1_UNIQUE,
    TRAIN_TEST1_REPEATS,
    Builder,
)

REPOSITORY = Path(__file__).parents[2]
DUMMY_DATA = Path(Builder.code_path).parent / "dummy_data"
needs_dummy_data = pytest.mark.skipif(
    not DUMMY_DATA.is_dir(), reason="dummy data are in the repository, not in a wheel"
)
HEIGHT, WIDTH = 24, 20


class TinyCephalogram(Builder):
    """The official layout with few small films. 201 is 103 again."""

    FILMS = {
        "train": ("TrainingData", range(101, 105)),
        "test1": ("Test1Data", range(200, 203)),
        "test2": ("Test2Data", range(301, 303)),
    }
    IMAGE_SIZE = (HEIGHT, WIDTH)


TinyCephalogram.pkg_dir_path = Builder.pkg_dir_path


def points_of(film, observer):
    rows = np.arange(19)[:, None] % 18
    return np.hstack([rows, rows + 2]) + (observer == "junior") + film % 2


def write_folder(folder, splits=("train", "test1"), suffix="png"):
    for split in splits:
        name, films = TinyCephalogram.FILMS[split]
        images = folder / "RawImage" / name
        images.mkdir(parents=True)
        for film in films:
            image = np.full((HEIGHT, WIDTH), film % 256, np.uint8)
            Image.fromarray(image).save(images / f"{film:03d}.{suffix}")
            for observer in ("senior", "junior"):
                path = folder / f"AnnotationsByMD/400_{observer}/{film:03d}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                points = points_of(film, observer)
                path.write_text("".join(f"{x},{y}\n" for x, y in points))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "films")


def problems_of(folder, data_dir):
    """Prepares a folder that is wrong; returns the problems and checks that no file
    was written."""
    with pytest.raises(DatasetFolderError) as caught:
        prepare(TinyCephalogram, data_dir, folder)
    assert not data_dir.exists()
    assert str(folder) in str(caught.value)
    return caught.value.problems


@needs_dummy_data
class TestCephalogram(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = TinyCephalogram
    EXAMPLE_DIR = DUMMY_DATA
    SPLITS = {"train": 4, "test1": 3}


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


@pytest.mark.parametrize("suffix", ["bmp", "png", "PNG"])
def test_prepared_set_holds_the_files(tmp_path, suffix):
    folder = write_folder(tmp_path / "films", suffix=suffix)
    notes = []
    prepare(TinyCephalogram, tmp_path / "tfds", folder, report=notes.append)
    assert (
        notes[0] == "The split 'test2' is left out: RawImage/Test2Data has no images."
    )
    assert "tiny_cephalogram/1.0.0 (test1 3, train 4): prepared in" in notes[1]

    splits = tfds.load("tiny_cephalogram", data_dir=tmp_path / "tfds")
    assert sorted(splits) == ["test1", "train"]
    for split, films in splits.items():
        samples = {int(s["id"]): s for s in tfds.as_numpy(films)}
        assert sorted(samples) == list(TinyCephalogram.FILMS[split][1])
        for film, sample in samples.items():
            assert sample["id"] == f"{film:03d}".encode()
            assert sample["image"].dtype == np.uint8
            np.testing.assert_array_equal(
                sample["image"], np.full((HEIGHT, WIDTH, 1), film % 256)
            )
            for observer in ("senior", "junior"):
                found = sample[f"points_{observer}"]
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, points_of(film, observer))
            np.testing.assert_array_equal(
                sample["affine"], np.diag([0.1, 0.1, 1.0]).astype(np.float32)
            )
            assert sample["group"] == (b"103" if film == 201 else sample["id"])


def test_jpeg_films_and_files_of_other_kinds(folder, tmp_path):
    images = folder / "RawImage/TrainingData"
    Image.open(images / "101.png").save(images / "101.jpeg")
    (images / "101.png").unlink()
    for name in ("Thumbs.db", "._102.png", "102.txt", "readme.md"):
        (images / name).write_text("x")
    builder = prepare(TinyCephalogram, tmp_path / "tfds", folder)
    assert builder.info.splits["train"].num_examples == 4


def test_annotations_with_diagnosis_classes_and_windows_line_ends(folder, tmp_path):
    path = folder / "AnnotationsByMD/400_senior/101.txt"
    lines = path.read_text().split()
    classes = ["1", "2", "3", "1", "1", "2", "4", "1"]
    path.write_bytes("\r\n".join([*lines, *classes, "", ""]).encode("utf-8-sig"))
    builder = prepare(TinyCephalogram, tmp_path / "tfds", folder)
    samples = tfds.as_numpy(builder.as_dataset(split="train"))
    found = next(s for s in samples if s["id"] == b"101")
    np.testing.assert_array_equal(found["points_senior"], points_of(101, "senior"))


def test_every_fault_of_a_folder_is_in_one_list(folder, tmp_path):
    train = folder / "RawImage/TrainingData"
    test1 = folder / "RawImage/Test1Data"
    (train / "102.png").unlink()
    (train / "103.png").write_bytes(b"")
    shutil.copy(test1 / "200.png", train / "200.png")
    Image.open(train / "104.png").save(train / "104.bmp")
    (test1 / "200.png").write_bytes((test1 / "200.png").read_bytes()[:-9])
    Image.fromarray(np.zeros((48, 40), np.uint8)).save(test1 / "201.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)).save(test1 / "202.png")
    junior = folder / "AnnotationsByMD/400_junior"
    senior = folder / "AnnotationsByMD/400_senior"
    for film in (101, 102, 104):
        (junior / f"{film}.txt").unlink()
    edit(senior / "101.txt", 7, "12;13")
    edit(senior / "102.txt", 1, "nan,4")
    edit(senior / "103.txt", 19, "20,4")
    edit(senior / "104.txt", 3, "3,-1")
    (senior / "200.txt").write_text("1,2\n" * 18)
    (senior / "201.txt").write_bytes(b"\xff\xfe\x00")
    edit(senior / "202.txt", 2, "")

    problems = problems_of(folder, tmp_path / "tfds")

    expected = [
        "RawImage/TrainingData: 1 of 4 images are missing: 102.",
        "RawImage/TrainingData: 1 images belong to another folder: 200.",
        "film 104 has more than one image: 104.bmp, 104.png.",
        "empty (0 bytes): RawImage/TrainingData/103.png",
        "RawImage/Test1Data/200.png",
        "RawImage/Test1Data/201.png must be 20 x 24 pixels, the published size. "
        "Received: 40 x 48.",
        "RawImage/Test1Data/202.png must have 8 bits. Received: uint16.",
        "AnnotationsByMD/400_junior: 3 of 4 annotation files are missing: "
        "101-102, 104.",
        "400_senior/101.txt, line 7 must be `x,y` in pixels. Received: '12;13'.",
        "400_senior/102.txt, line 1 must be two finite numbers. Received: 'nan,4'.",
        "400_senior/103.txt, line 19 lies outside of the image of 20 x 24 pixels. "
        "Received: '20,4'.",
        "400_senior/104.txt, line 3 lies outside",
        "400_senior/200.txt must have 19 lines `x,y`, or 27 with the diagnosis "
        "classes. Received: 18.",
        "400_senior/201.txt is not a text file.",
        "400_senior/202.txt, line 2 must be `x,y` in pixels. Received: ''.",
    ]
    for text in expected:
        assert sum(text in problem for problem in problems) == 1, text
    assert len(problems) == len(expected)
    assert not any(str(tmp_path) in problem for problem in problems)


def edit(path, line, text):
    lines = path.read_text().split("\n")
    lines[line - 1] = text
    path.write_text("\n".join(lines))


def write_setup(folder, films=range(101, 105), lists=None):
    """The published table of the challenge, in mm, and lists of folds."""
    (folder / "setup").mkdir()
    rows = [
        ",".join([f"{film:03d}", *(f"{v * 0.1:.1f}" for v in points.ravel())])
        for film in films
        for points in [points_of(film, "senior") + (0, 1)]
    ]
    (folder / "setup/all_challenge.csv").write_text("\n".join(rows) + "\n")
    for name, ids in (lists or {}).items():
        path = folder / "setup/cv" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(ids) + "\n")
    return folder


def test_the_challenges_own_points_and_the_published_folds(folder, tmp_path):
    lists = {
        "set1/train": ["101", "102", "200"],
        "set1/val": ["103"],
        "set2/train": ["104", "301"],
    }
    write_setup(folder, [*range(101, 105), *range(200, 203), 301], lists)
    notes = []
    prepare(TinyCephalogram, tmp_path / "tfds", folder, report=notes.append)
    assert notes[:-1] == [
        "The split 'test2' is left out: RawImage/Test2Data has no images.",
        "Published lists with missing images are left out: cv2_train (1 of 2).",
    ]

    # The folder is not needed to know of them, nor is the code.
    builder = TinyCephalogram(data_dir=tmp_path / "tfds")
    assert builder.OBSERVERS == ("senior", "junior")
    assert builder.GROUND_TRUTHS == ("challenge",)
    assert builder.SUBSETS == {
        "test1_unique": ("test1", TEST1_UNIQUE),
        "cv1_train": ("test1+train", {"101", "102", "200"}),
        "cv1_val": ("train", {"103"}),
    }
    stored = tfds.builder("tiny_cephalogram:1.0.0", data_dir=tmp_path / "tfds")
    assert stored.info.metadata["ground_truths"] == ["challenge"]
    assert stored.info.metadata["subsets"]["cv1_val"]["ids"] == ["103"]
    assert stored.info.metadata["notes"] == notes[:-1]

    found = {
        sample["id"].decode(): sample["points_challenge"]
        for sample in tfds.as_numpy(builder.as_dataset(split="cv1_train"))
    }
    assert sorted(found) == ["101", "102", "200"]
    for film, points in found.items():
        expected = points_of(int(film), "senior") + (0, 1)
        np.testing.assert_array_equal(points, expected.astype(np.float32))


def test_without_its_table_there_are_no_points_of_the_challenge(folder, tmp_path):
    builder = prepare(TinyCephalogram, tmp_path / "tfds", folder)
    assert builder.GROUND_TRUTHS == ()
    assert sorted(builder.info.features) == [
        *("affine", "group", "id", "image", "points_junior", "points_senior")
    ]


def test_tfds_alone_is_told_to_give_the_builder_the_folder(folder, tmp_path):
    write_setup(folder, [*range(101, 105), *range(200, 203)])
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder = TinyCephalogram(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match="give it as `folder`, or call"):
        builder.download_and_prepare(download_config=config)
    builder = TinyCephalogram(data_dir=tmp_path / "tfds", folder=folder)
    builder.download_and_prepare(download_config=config)
    assert "points_challenge" in builder.info.features


def test_faults_of_the_setup(folder, tmp_path):
    write_setup(folder, lists={"set1/val": ["101", "101", "999"]})
    table = folder / "setup/all_challenge.csv"
    lines = table.read_text().split("\n")
    lines[0] = lines[0].replace(",0.3,", ",9.9,", 1)
    lines[1] += ",1.0"
    lines[3] = "103" + lines[3][3:]
    table.write_text("\n".join([*lines, "200,nan", *([""] * 3)]))
    problems = problems_of(folder, tmp_path / "tfds")
    # Film 101 begins with 0.1, 0.4, 0.2, 0.5, 0.3, 0.6.
    expected = [
        "setup/all_challenge.csv, line 2 must be an id and 38 finite numbers. "
        "Received: '102,",
        "setup/all_challenge.csv, line 4: the id 103 is not unique.",
        "setup/all_challenge.csv, line 5 must be an id and 38 finite numbers. "
        "Received: ''",
        "setup/all_challenge.csv, line 6 must be an id and 38 finite numbers. "
        "Received: '200,nan'",
        "setup/all_challenge.csv: 2 of 4 films are missing: 102, 104.",
        "setup/all_challenge.csv: 3 of 3 films are missing: 200-202.",
        "setup/cv/set1/val.txt has 101 more than once.",
        "setup/cv/set1/val.txt has unknown films: 999.",
        "setup/all_challenge.csv: landmark 3 of film 101 lies outside of the image "
        "of 20 x 24 pixels. Received: '99,6'.",
    ]
    for text in expected:
        assert sum(text in problem for problem in problems) == 1, (text, problems)
    assert len(problems) == len(expected), problems


def test_cases_are_what_is_stored(folder, tmp_path):
    write_setup(folder, [*range(101, 105), *range(200, 203)])
    builder = TinyCephalogram(data_dir=tmp_path, folder=folder)
    cases = {case.id: case for case in builder.cases(folder)}
    assert list(cases) == ["101", "102", "103", "104", "200", "201", "202"]
    case = cases["201"]
    assert (case.split, case.group, case.labels) == ("test1", "103", ())
    assert case.image_path == folder / "RawImage/Test1Data/201.png"
    assert case.points_paths == (
        folder / "AnnotationsByMD/400_senior/201.txt",
        folder / "AnnotationsByMD/400_junior/201.txt",
        folder / "setup/all_challenge.csv",
    )
    assert list(case.points) == ["points_senior", "points_junior", "points_challenge"]
    np.testing.assert_array_equal(
        case.points["points_junior"], points_of(201, "junior")
    )
    image, affine = builder.read_image(case)
    assert image.shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(affine, np.diag([0.1, 0.1, 1.0]))
    np.testing.assert_array_equal(case.read_image()[0], image)
    np.testing.assert_array_equal(case.read_image()[1], affine)


def test_cases_of_a_faulty_folder(folder, tmp_path):
    senior = folder / "AnnotationsByMD/400_senior"
    (senior / "101.txt").unlink()
    edit(senior / "102.txt", 3, "three")
    edit(senior / "103.txt", 3, "500,-7")
    (folder / "RawImage/Test1Data/202.png").unlink()
    builder = TinyCephalogram(data_dir=tmp_path)
    with pytest.raises(DatasetFolderError, match="3 problems"):
        builder.cases(folder)
    problems = []
    cases = {case.id: case for case in builder.cases(folder, problems)}
    assert list(cases) == ["103", "104", "200", "201"]
    # That it is outside of the film is for others to say.
    np.testing.assert_array_equal(cases["103"].points["points_senior"][2], [500, -7])
    assert [problem.split(":")[0] for problem in problems] == [
        "AnnotationsByMD/400_senior/102.txt, line 3 must be `x,y` in pixels. Received",
        "AnnotationsByMD/400_senior",
        "RawImage/Test1Data",
    ]


def test_long_lists_are_cut_and_counted(folder, tmp_path):
    for observer in ("senior", "junior"):
        for film in (101, 102, 103, 104, 200, 201, 202):
            edit(folder / f"AnnotationsByMD/400_{observer}/{film}.txt", 5, "none")
    for film in range(101, 105):
        (folder / f"RawImage/TrainingData/{film}.png").write_text("no image")
    for film in range(200, 203):
        (folder / f"RawImage/Test1Data/{film}.png").write_text("no image")
    with pytest.raises(DatasetFolderError) as caught:
        prepare(TinyCephalogram, tmp_path / "tfds", folder)
    assert len(caught.value.problems) == 21
    message = str(caught.value)
    assert "as 'tiny_cephalogram': 21 problems. Nothing was written." in message
    assert message.count("\n  - ") == 20
    assert "\n  ... and 1 more.\n" in message
    assert message.endswith("A test set may be absent as a whole.")


def test_folder_without_images(tmp_path):
    for name in ("RawImage", "AnnotationsByMD"):
        (tmp_path / "films" / name).mkdir(parents=True)
    (problem,) = problems_of(tmp_path / "films", tmp_path / "tfds")
    assert "No images (001.bmp, .jpg or .png) in any of RawImage/Train" in problem


@pytest.mark.parametrize("given", [".", "films/RawImage"])
def test_the_folder_above_or_below_is_recognised(folder, tmp_path, given):
    wrong = tmp_path / given
    problems = problems_of(wrong, tmp_path / "tfds")
    assert len(problems) == 2
    for problem, room in zip(problems, ("RawImage", "AnnotationsByMD"), strict=True):
        assert f"{room}/" in problem
        assert f"Did you mean {folder}?" in problem


def test_tfds_itself_refuses_a_wrong_folder(folder, tmp_path):
    (folder / "RawImage/TrainingData/101.png").unlink()
    builder = TinyCephalogram(data_dir=tmp_path / "tfds")
    config = tfds.download.DownloadConfig(manual_dir=folder)
    with pytest.raises(DatasetFolderError, match="1 of 4 images are missing: 101"):
        builder.download_and_prepare(download_config=config)
    assert not list((tmp_path / "tfds").rglob("*tfrecord*"))


def test_the_lists_of_repeats():
    train = {f"{n:03d}" for n in range(1, 151)}
    test1 = {f"{n:03d}" for n in range(151, 301)}
    assert len(TRAIN_TEST1_REPEATS) == 20
    assert set(TRAIN_TEST1_REPEATS) <= test1
    assert set(TRAIN_TEST1_REPEATS.values()) <= train
    assert all(first < again for again, first in TEST1_REPEATS.items())
    assert len(TEST1_UNIQUE) == 127
    assert test1 - TEST1_UNIQUE == {*TRAIN_TEST1_REPEATS, "278", "294", "277"}


def test_official_constants():
    assert builder_class("cephalogram") is Builder
    assert Builder.name == "cephalogram"
    assert {split: len(films) for split, (_, films) in Builder.FILMS.items()} == {
        "train": 150,
        "test1": 150,
        "test2": 100,
    }
    assert len(Builder.SCHEMA) == 19
    assert Builder.SCHEMA.names[9] == "gonion"


def test_importing_the_package_registers_the_builder():
    code = (
        "import scn_keras.datasets.cephalogram, tensorflow_datasets as tfds\n"
        "print(tfds.builder_cls('cephalogram').__module__)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    module = "scn_keras.datasets.cephalogram.cephalogram_dataset_builder"
    assert out.stdout.strip() == module


class FewCephalograms(Builder):
    FILMS = {
        "train": ("TrainingData", range(1, 4)),
        "test1": ("Test1Data", range(173, 175)),
    }


FewCephalograms.pkg_dir_path = Builder.pkg_dir_path


def test_the_real_folder_is_complete(shared_data, tmp_path):
    builder = Builder(data_dir=tmp_path)
    folder = shared_data / "cephalogram"
    assert builder.layout_problems(folder) == []
    assert builder.folder_notes(folder) == [
        "The split 'test2' is left out: RawImage/Test2Data has no images."
    ]


def test_real_films_are_stored_unchanged(shared_data, tmp_path):
    source = shared_data / "cephalogram"
    folder = tmp_path / "films"
    for name, films in FewCephalograms.FILMS.values():
        images = folder / "RawImage" / name
        images.mkdir(parents=True)
        for film in films:
            path = images / f"{film:03d}.jpg"
            path.symlink_to(source / "RawImage" / name / path.name)
    (folder / "AnnotationsByMD").symlink_to(source / "AnnotationsByMD")

    prepare(FewCephalograms, tmp_path / "tfds", folder)
    splits = tfds.load("few_cephalograms", data_dir=tmp_path / "tfds")
    count = 0
    for split, (name, _) in FewCephalograms.FILMS.items():
        for sample in tfds.as_numpy(splits[split]):
            count += 1
            film = sample["id"].decode()
            pixels = np.asarray(Image.open(source / f"RawImage/{name}/{film}.jpg"))
            assert sample["image"].shape == (2400, 1935, 1)
            np.testing.assert_array_equal(sample["image"][..., 0], pixels[..., 0])
            for observer in ("senior", "junior"):
                text = source / f"AnnotationsByMD/400_{observer}/{film}.txt"
                np.testing.assert_array_equal(
                    sample[f"points_{observer}"], np.loadtxt(text, delimiter=",")
                )
            assert sample["group"].decode() == {"173": "144"}.get(film, film)
    assert count == 5
