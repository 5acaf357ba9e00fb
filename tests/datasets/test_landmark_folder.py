"""Folders of anyone's images and points: what is found, what is refused."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow_datasets as tfds
from click.testing import CliRunner
from PIL import Image

from scn_keras.cli import main
from scn_keras.datasets import DatasetFolderError, builder_class, prepare
from scn_keras.datasets.landmark_folder.folder_settings import read_settings
from scn_keras.files import (
    PointSet,
    read_image_header,
    read_points,
    write_points,
)
from scn_keras.files._similar_names import similar_name
from scn_keras.training.input.prepared_sets import prepared_builder

LABELS = ("tip", "base", "left", "right")
SIZE = (24, 20)  # rows, columns
IDS = ("A", "B", "C", "D", "E", "F")


def points_of(id: str, axes: int = 2) -> np.ndarray:
    """Returns four points that tell the image."""
    shift = IDS.index(id)
    points = np.array([[1.25, 2, 3], [4, 5.5, 6], [7, 8, 2], [9, 10, 1]])
    return points[:, :axes] + [shift, 0, 0][:axes]


def write_films(folder, ids=IDS, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for id in ids:
        grey = np.full(SIZE, 10 * IDS.index(id), np.uint8)
        Image.fromarray(grey).save(folder / f"{id}.{suffix}")
    return folder


def film_sets(ids=IDS):
    return [PointSet(LABELS, points_of(id), image=f"{id}.png") for id in ids]


@pytest.fixture
def films(tmp_path):
    """Six films and a table of their points."""
    folder = write_films(tmp_path / "films")
    write_points(folder / "points.csv", film_sets(), layout="wide")
    return folder


@pytest.fixture
def heads(tmp_path):
    """Three oblique volumes and, in a folder beside them, markups of 3D Slicer."""
    folder = tmp_path / "heads"
    (folder / "volumes").mkdir(parents=True)
    (folder / "landmarks").mkdir()
    for number, id in enumerate("ABC"):
        image = sitk.Image([20, 16, 10 + number], sitk.sitkInt16) - 1000 + number
        image.SetSpacing((0.7, 0.9, 2.5))
        image.SetOrigin((-31.0, 12.5, 140.0))
        image.SetDirection((0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6))
        path = folder / "volumes" / f"{id}.nii.gz"
        sitk.WriteImage(image, str(path))
        points = PointSet(LABELS, points_of(id, 3)).to_lps(read_image_header(path))
        write_points(folder / "landmarks" / f"{id}.mrk.json", points, "RAS")
    return folder


def builder_of(folder, tmp_path):
    return builder_class("landmark_folder")(folder=folder, data_dir=tmp_path / "none")


def problems_of(folder, tmp_path):
    """Prepares, and returns what is said to be wrong; nothing may have been written."""
    root = tmp_path / "prepared"
    with pytest.raises(DatasetFolderError) as caught:
        prepare("landmark_folder", root, folder, config="x", report=lambda line: None)
    assert not root.exists()
    return caught.value.problems


def only_problem(folder, tmp_path):
    (problem,) = problems_of(folder, tmp_path)
    return problem


def samples_of(builder, split="train"):
    samples = tfds.as_numpy(builder.as_dataset(split=split))
    return {sample["id"].decode(): sample for sample in samples}


# --- What is prepared ---


def test_volumes_beside_markups_are_prepared(heads, tmp_path):
    root, said = tmp_path / "p", []
    prepare("landmark_folder", root, heads, config="heads", report=said.append)
    assert len(said) == 1
    assert "landmark_folder/heads/1.0.0 (train 3)" in said[0]
    loaded = tfds.load("landmark_folder/heads", data_dir=root, split="train")
    assert len(loaded) == 3
    # As a recipe finds it: by name, without the folder.
    builder = builder_class("landmark_folder")(data_dir=root, config="heads")
    assert builder.SCHEMA.names == LABELS
    assert builder.DIMENSIONS == 3
    assert builder.IMAGE_DTYPE == "int16"
    samples = samples_of(builder)
    assert set(samples) == {"A", "B", "C"}
    for number, id in enumerate("ABC"):
        sample = samples[id]
        assert sample["image"].shape == (10 + number, 16, 20, 1)
        assert sample["image"].dtype == np.int16
        assert (sample["image"] == number - 1000).all()
        np.testing.assert_allclose(sample["points"], points_of(id, 3), atol=1e-4)
        assert sample["group"] == id.encode()
        image = sitk.ReadImage(str(heads / "volumes" / f"{id}.nii.gz"))
        np.testing.assert_allclose(
            (sample["affine"] @ [3, 4, 5, 1])[:3],
            image.TransformIndexToPhysicalPoint((3, 4, 5)),
            atol=1e-4,
        )


def test_two_folders_lie_side_by_side(heads, films, tmp_path):
    root = tmp_path / "p"
    for name, folder in (("heads", heads), ("films", films)):
        prepare("landmark_folder", root, folder, config=name, report=lambda line: None)
    cls = builder_class("landmark_folder")
    assert cls(data_dir=root, config="heads").DIMENSIONS == 3
    builder = cls(data_dir=root, config="films")
    assert builder.DIMENSIONS == 2
    assert builder.IMAGE_DTYPE == "uint8"
    (sample,) = [s for id, s in samples_of(builder).items() if id == "C"]
    np.testing.assert_array_equal(sample["points"], points_of("C"))
    assert (sample["image"] == 20).all()
    assert np.isnan(sample["affine"][:2, :2].diagonal()).all()  # uncalibrated
    # The class itself has no landmarks.
    assert len(cls.SCHEMA) == 0


def test_a_name_is_prepared_anew_from_another_folder(heads, films, tmp_path):
    root = tmp_path / "p"
    for folder in (heads, films):
        builder = prepare(
            "landmark_folder",
            root,
            folder,
            config="mine",
            overwrite=True,
            report=lambda line: None,
        )
    assert builder.DIMENSIONS == 2
    assert len(samples_of(builder)) == 6
    # Wrong folders leave what was there.
    (heads / "landmarks" / "A.mrk.json").unlink()
    with pytest.raises(DatasetFolderError):
        prepare("landmark_folder", root, heads, config="mine", overwrite=True)
    again = builder_class("landmark_folder")(data_dir=root, config="mine")
    assert len(samples_of(again)) == 6


def test_a_recipe_and_the_command_line_know_it_by_name(heads, tmp_path):
    root = tmp_path / "p"
    arguments = ["--manual-dir", str(heads), "--data-dir", str(root)]
    runner = CliRunner()
    result = runner.invoke(main, ["datasets", "prepare", "landmark_folder", *arguments])
    assert result.exit_code == 1
    assert "landmark_folder/NAME" in result.output
    result = runner.invoke(
        main, ["datasets", "prepare", "landmark_folder/heads", *arguments]
    )
    assert result.exit_code == 0, result.output
    builder = prepared_builder("landmark_folder/heads", root)
    assert builder.SCHEMA.names == LABELS


def test_a_folder_needs_a_name(films, tmp_path):
    with pytest.raises(ValueError, match="needs a name.*landmark_folder/NAME"):
        prepare("landmark_folder", tmp_path / "p", films)
    with pytest.raises(ValueError, match="must consist of letters.*'a/b'"):
        prepare("landmark_folder", tmp_path / "p", films, config="a/b")
    assert not (tmp_path / "p").exists()


def test_a_builder_of_a_folder_is_called_by_its_name(films, tmp_path):
    assert builder_of(films, tmp_path).builder_config.name == "films"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "mha", "nrrd", "dcm"])
def test_formats_of_films(tmp_path, suffix):
    folder = tmp_path / "films"
    folder.mkdir()
    grey = sitk.GetImageFromArray(np.full((1, *SIZE), 7, np.uint8))
    if suffix not in ("dcm", "mha", "nrrd"):
        grey = grey[:, :, 0]
    grey.SetMetaData("0008|0016", "1.2.840.10008.5.1.4.1.1.2")
    sitk.WriteImage(grey, str(folder / f"A.{suffix}"))
    write_points(folder / "A.csv", PointSet(LABELS, points_of("A")))
    (case,) = builder_of(folder, tmp_path).cases(folder)
    image, _ = case.read_image()
    assert image.shape == SIZE
    np.testing.assert_array_equal(case.points["points"], points_of("A"))


def test_formats_of_points_of_films(tmp_path):
    """Six films, each with its points in another format."""
    folder = write_films(tmp_path / "films")
    sets = dict(zip(IDS, film_sets(), strict=True))
    header = {id: read_image_header(folder / f"{id}.png") for id in IDS}
    write_points(folder / "A.csv", [sets["A"]], layout="long")
    write_points(folder / "B.mrk.json", sets["B"].to_lps(header["B"]), "RAS")
    write_points(folder / "C.fcsv", sets["C"].to_lps(header["C"]), old_fcsv=True)
    write_points(folder / "D.json", sets["D"])
    shapes = [
        {"label": label, "points": [(point + 0.5).tolist()], "shape_type": "point"}
        for label, point in zip(LABELS, points_of("E"), strict=True)
    ]
    labelme = {"shapes": shapes, "imagePath": "C:\\other\\place\\E.png"}
    (folder / "E.json").write_text(json.dumps(labelme))
    keypoints = np.c_[points_of("F"), [2] * 4].ravel().tolist()
    coco = {
        "images": [{"id": 5, "file_name": "films/F.png"}],
        "categories": [{"id": 1, "keypoints": LABELS}],
        "annotations": [{"image_id": 5, "category_id": 1, "keypoints": keypoints}],
    }
    (folder / "all.json").write_text(json.dumps(coco))
    cases = builder_of(folder, tmp_path).cases(folder)
    assert [case.id for case in cases] == [*IDS]
    for case in cases:
        np.testing.assert_allclose(
            case.points["points"], points_of(case.id), atol=1e-6, err_msg=case.id
        )
        assert case.labels == LABELS
    assert cases[5].points_paths == (folder / "all.json",)


def test_dicom_series_is_one_image_by_the_name_of_its_folder(tmp_path):
    folder = tmp_path / "heads"
    volume = np.arange(4 * 24 * 20, dtype=np.int16).reshape(4, 24, 20)
    (folder / "A").mkdir(parents=True)
    for index, plane in enumerate(volume):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.5, 0.5, 2.0))
        for key, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0060": "CT",
            "0020|000e": "1.2.3.4",
            "0020|0032": f"0\\0\\{2 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / "A" / f"{index}.dcm"))
        writer.Execute(image)
    points = PointSet(LABELS, points_of("A", 3) * [0.5, 0.5, 2.0], "LPS")
    write_points(folder / "A.fcsv", points)
    builder = builder_of(folder, tmp_path)
    (case,) = builder.cases(folder)
    assert case.id == "A"
    np.testing.assert_allclose(case.points["points"], points_of("A", 3), atol=1e-6)
    image, _ = builder.read_image(case)
    np.testing.assert_array_equal(image, volume)


def test_missing_landmarks_are_nan(films, tmp_path):
    table = (films / "points.csv").read_text().splitlines()
    fields = table[2].split(",")
    fields[3:5] = ["", ""]
    table[2] = ",".join(fields)
    (films / "points.csv").write_text("\n".join(table))
    cases = builder_of(films, tmp_path).cases(films)
    expected = points_of("B")
    expected[1] = np.nan
    np.testing.assert_array_equal(cases[1].points["points"], expected)


def test_a_label_that_most_files_have_is_a_landmark(heads, tmp_path):
    path = heads / "landmarks" / "B.mrk.json"
    points = read_points(path)
    write_points(path, PointSet(points.labels[1:], points.points[1:], "LPS"))
    cases = builder_of(heads, tmp_path).cases(heads)
    assert np.isnan(cases[1].points["points"][0]).all()
    np.testing.assert_allclose(
        cases[1].points["points"][1:], points_of("B", 3)[1:], atol=1e-4
    )


def test_the_real_mouse_heads(shared_data, tmp_path):
    folder = shared_data / "mouse_skull"
    builder = builder_of(folder, tmp_path)
    assert builder.layout_problems(folder) == []
    assert builder.folder_notes(folder) == []
    assert builder.DIMENSIONS == 3
    assert builder.IMAGE_DTYPE == "uint8"
    assert len(builder.SCHEMA) == 45
    assert builder.SCHEMA.names[0] == "1"
    assert builder.SCHEMA.names[-1] == "51"
    cases = builder.cases(folder)
    assert len(cases) == 20
    assert len({case.group for case in cases}) == 20
    for case in cases:
        assert case.points["points"].shape == (45, 3)
        assert np.isfinite(case.points["points"]).all()
    image, affine = builder.read_image(cases[0])
    assert image.dtype == np.uint8
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, 0.141, atol=2e-3)
    # Bone is bright: most landmarks lie on it, within a voxel.
    on_bone = []
    for point in cases[0].points["points"]:
        x, y, z = np.rint(point).astype(int)
        near = image[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
        on_bone.append(near.max() > image.mean() + image.std())
    assert np.mean(on_bone) > 0.9


# --- landmarks.toml ---


def settings(folder, text):
    (folder / "landmarks.toml").write_text(text)
    return folder


@pytest.mark.parametrize("name", ["../films", "/etc", "a/../../films", "a\\u0000b"])
@pytest.mark.parametrize("key", ["images", "points", "table", "train"])
def test_settings_name_files_of_the_folder_only(films, key, name):
    table = "splits" if key == "train" else "files"
    settings(films, f'[{table}]\n{key} = "{name}"\n')
    with pytest.raises(ValueError, match=f"'{table}.{key}' must be a name in the same"):
        read_settings(films)


def test_settings_have_a_largest_size(films):
    settings(films, "# " + "a" * 2**20)
    with pytest.raises(ValueError, match="landmarks.toml must have at most 1,048,576"):
        read_settings(films)


def test_settings_may_name_links(films, tmp_path):
    (films / "images").symlink_to(tmp_path)  # a large disk
    settings(films, '[files]\nimages = "images"\n')
    assert read_settings(films).images == "images"


def test_names_pairs_links_and_colours(films, tmp_path):
    settings(
        films,
        'names = ["base", "tip", "right", "left"]\n'
        'pairs = [["left", "right"]]\nlinks = [["tip", "base"], ["base", "left"]]\n'
        'colors = {tip = "red", base = "blue", left = "#010203", right = "green"}\n',
    )
    builder = builder_of(films, tmp_path)
    assert builder.SCHEMA.names == ("base", "tip", "right", "left")
    assert builder.SCHEMA.pairs == ((3, 2),)
    assert builder.SCHEMA.links == ((1, 0), (0, 3))
    assert builder.SCHEMA.colors == ("blue", "red", "green", "#010203")
    (case, *_) = builder.cases(films)
    np.testing.assert_array_equal(case.points["points"], points_of("A")[[1, 0, 3, 2]])
    assert case.labels == LABELS  # as the file has them


def test_where_images_and_points_are(films, tmp_path):
    write_films(films / "thumbnails", ids="A")
    (films / "marks").mkdir()
    for id in IDS:
        write_points(films / "marks" / f"{id}_2.csv", PointSet(LABELS, points_of(id)))
    (films / "points.csv").unlink()
    (films / "images").mkdir()
    for path in films.glob("*.png"):
        path.rename(films / "images" / path.name)
    settings(films, '[files]\nimages = "images"\npoints = "marks/{id}_2.csv"\n')
    cases = builder_of(films, tmp_path).cases(films)
    assert [case.id for case in cases] == [*IDS]
    np.testing.assert_array_equal(cases[4].points["points"], points_of("E"))


def test_spacing_of_images_that_do_not_say(films, tmp_path):
    builder = builder_of(films, tmp_path)
    assert any(
        "6 of 6 images have no spacing" in n for n in builder.folder_notes(films)
    )
    settings(films, "[files]\nspacing = [0.1, 0.25]\n")
    builder = builder_of(films, tmp_path)
    (case, *_) = builder.cases(films)
    _, affine = builder.read_image(case)
    np.testing.assert_array_equal(affine, np.diag([0.1, 0.25, 1.0]))
    assert builder.folder_notes(films) == []
    assert "0.1 x 0.25 mm per pixel" in builder.SPACING_RULE


def test_table_in_millimetres(films, tmp_path):
    sets = [PointSet(LABELS, points_of(i) * [0.1, 0.25], image=i) for i in IDS]
    write_points(films / "points.csv", sets)
    settings(films, '[files]\nspacing = [0.1, 0.25]\nspace = "LPS"\n')
    cases = builder_of(films, tmp_path).cases(films)
    np.testing.assert_allclose(cases[3].points["points"], points_of("D"))


def test_unlabelled_images_only_when_asked(films, tmp_path):
    write_points(films / "points.csv", film_sets(IDS[:4]))
    problems = problems_of(films, tmp_path)
    assert [p.split()[0] for p in problems] == ["E.png", "F.png"]
    assert all("has no points" in problem for problem in problems)
    settings(films, "[files]\nunlabelled = true\n")
    builder = builder_of(films, tmp_path)
    cases = builder.cases(films)
    assert len(cases) == 6
    assert np.isnan(cases[5].points["points"]).all()
    assert cases[5].points_paths == ()
    assert "2 images have no points: E, F." in builder.folder_notes(films)


# --- Patients and splits ---


def patients_and_splits(folder, tmp_path):
    cases = builder_of(folder, tmp_path).cases(folder)
    return {case.id: (case.group, case.split) for case in cases}


def with_columns(folder, **columns):
    """Adds columns to the table of points."""
    lines = (folder / "points.csv").read_text().splitlines()
    lines[0] += "," + ",".join(columns)
    for row in range(6):
        lines[row + 1] += "," + ",".join(values[row] for values in columns.values())
    (folder / "points.csv").write_text("\n".join(lines))
    return folder


def test_without_a_word_every_image_is_a_patient_in_train(films, tmp_path):
    assert patients_and_splits(films, tmp_path) == {id: (id, "train") for id in IDS}


def test_columns_called_patient_and_split_count(films, tmp_path):
    with_columns(films, patient="pppqqr", split=["train"] * 3 + ["test"] * 3)
    found = patients_and_splits(films, tmp_path)
    assert found["B"] == ("p", "train")
    assert found["F"] == ("r", "test")


def test_a_corrected_film_that_has_a_row(films, tmp_path):
    with_columns(films, patient="pppqqr", split=["train"] * 3 + ["test"] * 3)
    image = next(films.rglob("B.png"))
    points = PointSet(LABELS, points_of("B", 2) + 1.0)
    write_points(image.with_name("B.mrk.json"), points.to_lps(read_image_header(image)))
    # A row and a file are an error that names both.
    (problem,) = problems_of(films, tmp_path)
    assert "B.png has points more than once, and none of them is preferred" in problem
    assert "B.mrk.json" in problem
    assert "points.csv, line 3" in problem
    # Without its coordinates, the row keeps the patient and the split of the image.
    lines = (films / "points.csv").read_text().splitlines()
    lines[2] = "B.png" + "," * 2 * len(LABELS) + ",p,train"
    (films / "points.csv").write_text("\n".join(lines))
    builder = builder_class("landmark_folder")(folder=films, data_dir=tmp_path / "d")
    (case,) = [case for case in builder.cases(films) if case.id == "B"]
    assert (case.group, case.split) == ("p", "train")
    np.testing.assert_allclose(case.points["points"], points.points, atol=1e-6)


def test_columns_by_name(films, tmp_path):
    with_columns(films, owner="pppqqr", part=["a"] * 3 + ["b"] * 3)
    settings(films, '[patient]\ncolumn = "owner"\n[splits]\ncolumn = "part"\n')
    assert patients_and_splits(films, tmp_path)["E"] == ("q", "b")


def test_a_table_of_its_own(heads, tmp_path):
    (heads / "who.csv").write_text("image,who,part\nA.nii.gz,p,one\nB,p,one\nC,q,two\n")
    settings(
        heads,
        '[files]\ntable = "who.csv"\n[patient]\ncolumn = "who"\n'
        '[splits]\ncolumn = "part"\n',
    )
    assert patients_and_splits(heads, tmp_path) == {
        "A": ("p", "one"),
        "B": ("p", "one"),
        "C": ("q", "two"),
    }


def test_patient_by_a_pattern(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    names = ("anna_1", "anna_2", "ben_1")
    for name in names:
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / f"{name}.png")
    sets = [PointSet(LABELS, points_of("A"), image=name) for name in names]
    write_points(folder / "points.csv", sets)
    settings(folder, '[patient]\npattern = "^([a-z]+)_"\n')
    found = patients_and_splits(folder, tmp_path)
    assert [group for group, _ in found.values()] == ["anna", "anna", "ben"]
    settings(folder, '[patient]\npattern = "^x"\n')
    problem = problems_of(folder, tmp_path)[0]
    assert "'patient.pattern' does not match 'anna_1'. Received: '^x'." in problem


def test_splits_by_lists(films, tmp_path):
    (films / "train.txt").write_text("A.png\nB\n\nC\n")
    settings(films, '[splits]\ntrain = "train.txt"\ntest = ["D", "E"]\n')
    found = patients_and_splits(films, tmp_path)
    assert {id: split for id, (_, split) in found.items()} == {
        **dict.fromkeys("ABC", "train"),
        **dict.fromkeys("DE", "test"),
    }
    notes = builder_of(films, tmp_path).folder_notes(films)
    assert "1 images are in no split: F." in notes


def test_folds_are_by_patient_and_by_seed(films, tmp_path):
    with_columns(films, patient="pppqqr")
    splits = {}
    for seed in range(8):
        settings(films, f"[splits]\nfolds = 3\nseed = {seed}\n")
        found = patients_and_splits(films, tmp_path)
        by_patient = {}
        for group, split in found.values():
            by_patient.setdefault(group, set()).add(split)
        # One fold a patient, one patient a fold.
        assert all(len(folds) == 1 for folds in by_patient.values())
        assert {*found.values()} == {(p, *by_patient[p]) for p in "pqr"}
        assert {split for _, split in found.values()} == {"fold1", "fold2", "fold3"}
        splits[seed] = tuple(split for _, split in found.values())
        assert patients_and_splits(films, tmp_path) == found
    assert len(set(splits.values())) > 1


def test_folds_are_of_like_size(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    names = [f"{n:02d}" for n in range(22)]
    for name in names:
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / f"{name}.png")
    sets = [PointSet(LABELS, points_of("A"), image=name) for name in names]
    write_points(folder / "points.csv", sets)
    settings(folder, "[splits]\nfolds = 4\n")
    found = [split for _, split in patients_and_splits(folder, tmp_path).values()]
    assert sorted(found.count(split) for split in set(found)) == [5, 5, 6, 6]


def test_splits_are_prepared(films, tmp_path):
    settings(films, "[splits]\nfolds = 2\n")
    builder = prepare(
        "landmark_folder", tmp_path / "p", films, config="f", report=lambda line: None
    )
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "fold1": 3,
        "fold2": 3,
    }
    assert not set(samples_of(builder, "fold1")) & set(samples_of(builder, "fold2"))


# --- Bad input: the file and the line are named, nothing is written ---


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_text_in_a_file_of_points(films, tmp_path):
    replace(films / "points.csv", "2.25,2.0", "2.25,two")
    problems = problems_of(films, tmp_path)
    assert problems[0].startswith("points.csv, line 3: the position of 'tip' must have")


def test_half_a_point_in_a_file_of_points(films, tmp_path):
    replace(films / "points.csv", "2.25,2.0", "NaN,2.0")
    problems = problems_of(films, tmp_path)
    assert problems[0].startswith("points.csv, line 3: the position of 'tip' must")
    assert "Received: tip_x='NaN', tip_y='2.0'" in problems[0]


def test_text_in_markups(heads, tmp_path):
    path = heads / "landmarks" / "B.mrk.json"
    data = json.loads(path.read_text())
    data["markups"][0]["controlPoints"][2]["position"][0] = "left"
    path.write_text(json.dumps(data, indent=2))
    problems = problems_of(heads, tmp_path)
    assert problems[0].startswith("landmarks/B.mrk.json, line 29: the position of 'lef")
    assert len(problems) == 1  # not that its image has no points


def test_image_twice_in_a_table(films, tmp_path):
    with (films / "points.csv").open("a") as file:
        file.write("B.png,1,2,3,4,5,6,7,8\n")
    problems = problems_of(films, tmp_path)
    assert problems[0].startswith("points.csv, line 8: ")
    assert "Received: 'B.png', which is on line 3" in problems[0]


def test_two_images_of_one_name(films, tmp_path):
    write_films(films / "again", ids="B")
    assert only_problem(films, tmp_path).startswith(
        "B.png and again/B.png have the same id, 'B'"
    )


def test_points_twice(films, tmp_path):
    write_points(films / "B.json", PointSet(LABELS, points_of("B")))
    problem = only_problem(films, tmp_path)
    assert problem.startswith("B.png has points")
    assert problem.endswith(": B.json, line 4 and points.csv, line 3.")


def test_doubled_label(heads, tmp_path):
    path = heads / "landmarks" / "B.mrk.json"
    points = read_points(path)
    labels = ("tip", "tip", *LABELS[2:])
    write_points(path, PointSet(labels, points.points, "LPS"))
    problem = only_problem(heads, tmp_path)
    assert problem.startswith("landmarks/B.mrk.json, lines 9, 19: the label 'tip' ")
    assert problem.endswith("2 times for 'B'.")
    # The validator gets the case with its labels as they are.
    found = []
    cases = builder_of(heads, tmp_path).cases(heads, found)
    assert found == []
    assert cases[1].labels == labels


def test_label_that_few_files_have(heads, tmp_path):
    path = heads / "landmarks" / "B.mrk.json"
    points = read_points(path)
    write_points(path, PointSet(("Tip", *LABELS[1:]), points.points, "LPS"))
    assert only_problem(heads, tmp_path).startswith(
        "landmarks/B.mrk.json, line 9: most of the 3 images have no label 'Tip'."
    )


def test_label_that_the_settings_do_not_have(films, tmp_path):
    settings(films, 'names = ["tip", "base", "left"]\n')
    problems = problems_of(films, tmp_path)
    assert len(problems) == 6
    assert problems[0].startswith("points.csv, line 2: the label 'right' ")
    assert "landmarks.toml" in problems[0]


def test_name_that_no_file_has(films, tmp_path):
    settings(films, 'names = ["tip", "base", "left", "right", "top"]\n')
    assert only_problem(films, tmp_path) == (
        "landmarks.toml: no file has the labels top."
    )


def test_points_without_image(films, tmp_path):
    (films / "C.png").unlink()
    assert only_problem(films, tmp_path) == (
        "points.csv, line 4: there is no image 'C'."
    )


def test_image_without_points(heads, tmp_path):
    (heads / "landmarks" / "B.mrk.json").unlink()
    assert only_problem(heads, tmp_path).startswith("volumes/B.nii.gz has no points.")


def test_flat_images_among_volumes(heads, tmp_path):
    write_films(heads, ids="D")
    write_points(heads / "D.csv", PointSet(LABELS, points_of("D")))
    assert only_problem(heads, tmp_path).startswith("D.png must have 3 axes")


def test_flat_points_of_a_volume(heads, tmp_path):
    (heads / "landmarks" / "B.mrk.json").unlink()
    write_points(heads / "landmarks" / "B.csv", PointSet(LABELS, points_of("B")))
    problem = only_problem(heads, tmp_path)
    assert problem.startswith("landmarks/B.csv, points of volumes/B.nii.gz: ")
    assert "3 coordinates" in problem and "Received: 2 coordinates" in problem


def test_points_of_another_image(heads, tmp_path):
    """As when RAS is taken for LPS."""
    path = heads / "landmarks" / "B.mrk.json"
    points = read_points(path)
    write_points(path, PointSet(LABELS, points.points * [-1, -1, 1] - 300, "LPS"))
    assert only_problem(heads, tmp_path).startswith(
        "landmarks/B.mrk.json: all points lie outside of volumes/B.nii.gz."
    )


def test_points_a_little_outside_are_noted(films, tmp_path):
    replace(films / "points.csv", "1.25,2.0", "-5.0,2.0")
    builder = builder_of(films, tmp_path)
    assert builder.layout_problems(films) == []
    notes = builder.folder_notes(films)
    assert any("of 1 of 6 images lie outside of their image: A." in n for n in notes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", r"volumes/B.nii.gz.*0 bytes|empty \(0 bytes\): volumes/B"),
        (
            lambda data: data[:-30],
            "volumes/B.nii.gz: the compressed data end too early",
        ),
        (lambda data: b"no image" * 99, "volumes/B.nii.gz"),
    ],
)
def test_damaged_image(heads, tmp_path, damage, message):
    path = heads / "volumes" / "B.nii.gz"
    path.write_bytes(damage(path.read_bytes()))
    problem = only_problem(heads, tmp_path)
    assert re.search(message, problem), problem


def test_no_images_and_no_points(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    assert only_problem(folder, tmp_path).startswith("There are no images in ")
    write_films(folder)
    assert all("has no points" in problem for problem in problems_of(folder, tmp_path))
    with pytest.raises(ValueError, match="There are no points in .*empty"):
        builder_of(folder, tmp_path)


def test_detector_spacing_is_a_note(tmp_path):
    """Of films that lie beside each other, which are no series of slices."""
    folder = tmp_path / "films"
    (folder / "images").mkdir(parents=True)
    for id in "AB":
        image = sitk.GetImageFromArray(np.zeros((1, *SIZE), np.uint16))
        image.SetSpacing((0.1, 0.1, 1.0))
        image.SetMetaData("0008|0016", "1.2.840.10008.5.1.4.1.1.1")
        image.SetMetaData("0018|1164", "0.1\\0.1")
        path = folder / "images" / f"{id}.dcm"
        sitk.WriteImage(image, str(path))
        # GDCM may write Pixel Spacing as well: turned into Zoom Factor.
        raw = path.read_bytes().replace(b"\x28\x00\x30\x00", b"\x28\x00\x31\x00")
        path.write_bytes(raw)
    write_points(folder / "points.csv", film_sets("AB"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        builder = builder_of(folder, tmp_path)
        notes = builder.folder_notes(folder)
        (case, _) = builder.cases(folder)
        _, affine = builder.read_image(case)
    assert np.isnan(affine[0, 0])
    assert notes[0].startswith("2 of 2 images have no spacing")
    assert notes[1].startswith(
        "images/A.dcm has no Pixel Spacing, only Imager Pixel Spacing"
    )
    assert notes[1].endswith("(And 1 more images.)")


def test_bits_are_kept(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    deep = (np.arange(SIZE[0] * SIZE[1]) * 100).reshape(SIZE).astype(np.uint16)
    Image.fromarray(deep).save(folder / "A.png")
    write_films(folder, ids="B")
    write_points(folder / "points.csv", film_sets("AB"))
    builder = prepare(
        "landmark_folder", tmp_path / "p", folder, config="f", report=lambda line: None
    )
    assert builder.IMAGE_DTYPE == "uint16"
    samples = samples_of(builder)
    np.testing.assert_array_equal(samples["A"]["image"][..., 0], deep)
    assert (samples["B"]["image"] == 10).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names = []\npairs = =\n", "landmarks.toml is not TOML: .*line 2"),
        ("name = []\n", "Known: names, pairs.* Received: 'name'"),
        ("[files]\nimage = 'x'\n", "Known: images.* Received: 'files.image'"),
        ("names = 'tip'\n", "'names' must be a list. Received: 'tip'"),
        ("names = [1]\n", "'names' must be a list of names"),
        ("names = ['tip', 'tip']\n", "landmarks.toml: .*names must be unique.*tip"),
        ("files = 3\n", r"'files' must be a table \[files\]"),
        ("pairs = [['left']]\n", "'pairs' must be a list of pairs of names"),
        ("links = [['left', 'top']]\n", "'links' has unknown landmarks: top"),
        ("colors = {top = 'red'}\n", "'colors' has unknown landmarks: top"),
        ("colors = {tip = 'red'}\n", "'colors' has no color for base, left, right"),
        ("colors = ['red']\n", "'colors' must be .* 0 names"),
        ("[files]\nspace = 'mm'\n", "'files.space' must be one of"),
        (
            "[files]\nspacing = [0, 1]\n",
            r"'files.spacing' must be .* Received: \[0, 1\]",
        ),
        ("[files]\npoints = 'nowhere'\n", "'files.points' does not exist: nowhere"),
        ("[files]\ntable = 'who.csv'\n", "'files.table' does not exist: who.csv"),
        (
            "[patient]\npattern = '('\n",
            "'patient.pattern' must be a regular expression",
        ),
        ("[patient]\ncolumn = 'who'\n", "A.png: no table has .* column 'who'"),
        ("[splits]\nfolds = 1\n", "'splits.folds' must be 2 or more"),
        ("[splits]\nfolds = 7\n", "'splits.folds' must be .* 6. Received: 7"),
        ("[splits]\nfolds = 2\nseed = -1\n", "'splits.seed' must be .* Received: -1"),
        (
            "[splits]\nfolds = 2\ncolumn = 'x'\n",
            r"'splits' must be .* Received: \['column', 'folds'\]",
        ),
        ("[splits]\ncolumn = 3\n", "'splits.column' must be the name of a column"),
        ("[splits]\n'a b' = ['A']\n", "'splits.a b' must be named with letters"),
        ("[splits]\na = 3\n", "'splits.a' must be a file or a list of ids"),
        ("[splits]\na = 'a.txt'\n", "'splits.a' does not exist: a.txt"),
        ("[splits]\na = ['A', 'Z']\n", "entry 2 of 'a': there is no image 'Z'"),
        ("[splits]\na = ['A']\nb = ['A']\n", "entry 1 of 'b': 'A' is in 'a' already"),
    ],
)
def test_wrong_settings(films, tmp_path, text, message):
    settings(films, text)
    problems = problems_of(films, tmp_path)
    assert re.search(message, problems[0]), problems


def test_columns_of_a_table_with_errors(heads, tmp_path):
    (heads / "who.csv").write_text("image,who\nA,p\nA,q\nZ,q\nC,\n")
    settings(heads, '[files]\ntable = "who.csv"\n[patient]\ncolumn = "who"\n')
    twice, unknown, *without = problems_of(heads, tmp_path)
    assert twice.startswith("who.csv, line 3: the image 'A' ")
    assert unknown == "who.csv, line 4: there is no image 'Z'."
    assert [problem.split(":")[0] for problem in without] == [
        "volumes/B.nii.gz",
        "volumes/C.nii.gz",
    ]
    assert all("the column 'who'" in problem for problem in without)


def test_split_of_a_wrong_name(films, tmp_path):
    with_columns(films, split=["a b"] * 6)
    problem = problems_of(films, tmp_path)[0]
    assert problem.startswith("The split of 'A' must")
    assert "Received: 'a b'" in problem


def test_cases_raise_where_no_list_of_problems_is_given(films, tmp_path):
    builder = builder_of(films, tmp_path)
    (films / "C.png").unlink()
    with pytest.raises(ValueError, match="there is no image 'C'"):
        builder_of(films, tmp_path).cases(films)
    # A builder reads a folder once.
    assert len(builder.cases(films)) == 6


def test_nothing_remains_of_a_folder_that_changes_while_it_is_read(heads, tmp_path):
    cls = builder_class("landmark_folder")

    class Faulty(cls, skip_registration=True):
        name = "faulty"
        read = 0

        def read_image(self, case):
            type(self).read += 1
            if type(self).read > 4:  # three in the check, then writing begins
                raise OSError("unplugged")
            return super().read_image(case)

    with pytest.raises(OSError, match="unplugged"):
        prepare(Faulty, tmp_path / "p", heads, config="x", report=lambda line: None)
    assert not (tmp_path / "p").exists()


# --- TFDS's own test of a builder ---


def write_dummy_data(folder):
    """Draws three small volumes with markups, and says two splits."""
    for room in ("volumes", "landmarks"):
        (folder / room).mkdir(parents=True)
    for number, id in enumerate("ABC"):
        grey = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4) + number
        image = sitk.GetImageFromArray(grey)
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((1.0, 2.0, 3.0))
        sitk.WriteImage(image, str(folder / "volumes" / f"{id}.nrrd"))
        points = PointSet(("a", "b"), [[1.5, 2.5, 3.0], [2.0, 4.0, 9.0]], "LPS")
        write_points(folder / "landmarks" / f"{id}.mrk.json", points)
    settings(folder, '[splits]\ntrain = ["A", "B"]\ntest = ["C"]\n')
    return folder


class OfDummyData(builder_class("landmark_folder")):
    """A builder that knows its folder without being told."""

    def __init__(self, **kwargs):
        super().__init__(**{"folder": DUMMY_DATA, **kwargs})


DUMMY_DATA = Path(builder_class("landmark_folder").code_path).parent / "dummy_data"
needs_dummy_data = pytest.mark.skipif(
    not DUMMY_DATA.is_dir(), reason="dummy data are in the repository, not in a wheel"
)


@needs_dummy_data
class TestLandmarkFolder(tfds.testing.DatasetBuilderTestCase):
    """What TFDS asks of every builder."""

    DATASET_CLASS = OfDummyData
    EXAMPLE_DIR = DUMMY_DATA
    SPLITS = {"train": 2, "test": 1}


@needs_dummy_data
def test_dummy_data_are_drawn(tmp_path):
    drawn = write_dummy_data(tmp_path / "dummy_data")
    files = sorted(p.relative_to(drawn) for p in drawn.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(DUMMY_DATA) for p in DUMMY_DATA.rglob("*") if p.is_file()
    )
    for file in files:
        assert (drawn / file).read_bytes() == (DUMMY_DATA / file).read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[file]\nspacing = [0.1, 0.1]", "'files'.*Known: names, .*, files, patient"),
        ("[files]\nspacng = [0.1, 0.1]", r"under \[files\].* Did you mean 'spacing'"),
        ("name = ['tip']", "Did you mean 'names'"),
        ("[splits]\nfold = 5", "a list of ids of a split 'fold'.*mean 'folds'.*: 5"),
        ("[splits]\nhalf = 5", "Settings are column, folds, seed. Received: 5"),
    ],
)
def test_settings_that_are_spelt_wrongly(films, tmp_path, text, message):
    settings(films, text)
    assert re.search(message, only_problem(films, tmp_path))


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("b.png", "'B'"), ("Film B.png", None), ("BB.png", None)],
)
def test_names_of_images_that_are_spelt_wrongly(films, tmp_path, name, suggestion):
    replace(films / "points.csv", "B.png", name)
    problem = next(p for p in problems_of(films, tmp_path) if "no image" in p)
    if suggestion:
        assert problem.endswith(f"Did you mean {suggestion}?")
    else:
        assert problem.endswith(f"there is no image {name.removesuffix('.png')!r}.")


@pytest.mark.parametrize(
    ("name", "names", "similar"),
    [
        ("Film 3", ["film_003", "film_004"], "film_003"),
        ("film_12", ["film_11", "film_13"], None),
        ("3", ["a3", "b3"], None),
        ("spacng", ["spacing", "space"], "spacing"),
        ("hips", ["knees"], None),
    ],
)
def test_similar_names(name, names, similar):
    expected = f" Did you mean {similar!r}?" if similar else ""
    assert similar_name(name, names) == expected
