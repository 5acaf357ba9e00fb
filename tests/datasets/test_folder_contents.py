"""Folders as they lie on disks: stated sizes, names, cases of 3D Slicer, odd files."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scn_keras.datasets import builder_class
from scn_keras.datasets.check.check_folder import check_folder
from scn_keras.files import PointSet, read_image_header, write_points
from scn_keras.files.find_images import find_images

WIDTH, HEIGHT = 24, 20


def write_film(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    Image.fromarray(pixels).save(path)


def errors(folder, tmp_path):
    """Returns the problems of `prepare`, which are errors of `check`, too."""
    builder = builder_class("landmark_folder")(
        folder=folder, data_dir=tmp_path / "none"
    )
    problems = builder.layout_problems(folder)
    found = [f.message for f in check_folder(folder).findings if f.severity == "error"]
    assert all(any(p in message for message in found) for p in problems), found
    return problems


def cases_of(folder, tmp_path):
    cls = builder_class("landmark_folder")
    return {
        case.id: case
        for case in cls(folder=folder, data_dir=tmp_path / "none").cases(folder)
    }


# --- Sizes that files of points state ---


@pytest.mark.parametrize("kind", ["labelme", "coco"])
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((WIDTH, HEIGHT), None),
        ((48, 40), "48 x 40 pixels .* an image of 24 x 20 pixels"),
        ((HEIGHT, WIDTH), "20 x 24 pixels .* EXIF orientation.* of 24 x 20 pixels"),
    ],
)
def test_size_that_a_file_of_points_states(tmp_path, kind, size, message):
    folder = tmp_path / "films"
    write_film(folder / "A.png")
    width, height = size
    if kind == "labelme":
        shape = {"label": "a", "points": [[3, 4]], "shape_type": "point"}
        data = {"imageWidth": width, "imageHeight": height, "shapes": [shape]}
    else:
        data = {
            "images": [{"id": 1, "file_name": "A.png"}],
            "categories": [{"id": 1, "keypoints": ["a"]}],
            "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [3, 4, 2]}],
        }
        data["images"][0].update(width=width, height=height)
    (folder / "A.json").write_text(json.dumps(data))
    problems = errors(folder, tmp_path)
    if message is None:
        assert problems == []
    else:
        with pytest.raises(ValueError, match=f"A.json: the size of A.png .*{message}"):
            raise ValueError(problems[0])


def test_bytes_that_a_file_of_points_states(tmp_path):
    folder = tmp_path / "films"
    regions = [
        {
            "shape_attributes": {"name": "point", "cx": 3, "cy": 4},
            "region_attributes": {"name": "a"},
        }
    ]
    data = {}
    for id, change in (("A", 0), ("B", 1)):
        write_film(folder / f"{id}.png")
        size = (folder / f"{id}.png").stat().st_size + change
        data[id] = {"filename": f"{id}.png", "size": size, "regions": regions}
    (folder / "via.json").write_text(json.dumps(data))
    assert errors(folder, tmp_path) == []
    notes = [f.message for f in check_folder(folder).findings if "bytes" in f.message]
    assert len(notes) == 1
    assert "1 image files have another size in bytes" in notes[0]
    assert notes[0].endswith("set: B.")


def test_image_that_a_file_of_points_states(tmp_path):
    folder = tmp_path / "films"
    for id, image in (("A", "B.png"), ("B", "..\\elsewhere\\old name.png")):
        write_film(folder / f"{id}.png")
        shape = {"label": "a", "points": [[3, 4]], "shape_type": "point"}
        data = {"shapes": [shape], "imagePath": image}
        (folder / f"{id}.json").write_text(json.dumps(data))
    problem = errors(folder, tmp_path)[0]
    assert problem.startswith("A.json, line 1: the file has the name of the image 'A',")


def test_sidecars_of_scans_and_open_workbooks(tmp_path):
    folder = tmp_path / "heads"
    write_head(folder / "A.nii.gz")
    write_markups(folder / "A.mrk.json", 1)
    (folder / "A.json").write_text('{"Modality": "MR", "Manufacturer": "X"}')
    (folder / "~$points.xlsx").write_bytes(b"lock")
    assert errors(folder, tmp_path) == []
    notes = " ".join(f.message for f in check_folder(folder).findings)
    assert "A.json is not read. It has the parameters of a scan" in notes


def test_names_of_uploaded_images(tmp_path):
    table = "image,a_x,a_y\nabc1-A.png,1,2\nbad-1.png,3,4\n"
    folder = write_table(tmp_path / "films", table, ("A", "bad-1"))
    assert errors(folder, tmp_path) == []


# --- Landmarks without a point ---


def write_table(folder, text, ids="AB"):
    for id in ids:
        write_film(folder / f"{id}.png")
    (folder / "points.csv").write_text(text)
    return folder


def test_set_without_a_point(tmp_path):
    table = "image,a_x,a_y\nA.png,,\nB.png,,\n"
    (problem,) = errors(write_table(tmp_path / "films", table), tmp_path)
    assert problem.startswith("The files of points have no point: all landmarks of 2 ")


def test_files_without_a_shape(tmp_path):
    folder = tmp_path / "films"
    for id in "AB":
        write_film(folder / f"{id}.png")
        (folder / f"{id}.json").write_text('{"shapes": []}')
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("The files of points have no point: all landmarks of 2 ")


def test_landmark_without_a_point(tmp_path):
    table = "image,a_x,a_y,b_x,b_y\nA.png,1,2,,\nB.png,3,4,,\n"
    folder = write_table(tmp_path / "films", table)
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("No image has a point of 'b': ")
    # One point is enough.
    write_table(folder, table.replace("3,4,,", "3,4,5,6"))
    assert errors(folder, tmp_path) == []
    # A name that no file has is an error of `check`, too.
    (folder / "landmarks.toml").write_text('names = ["a", "b", "c"]\n')
    assert errors(folder, tmp_path) == ["landmarks.toml: no file has the labels c."]


def write_labelme(path, **kinds):
    shapes = [
        {
            "label": label,
            "shape_type": kind,
            "points": [[3, 4]] if kind == "point" else [[3, 4], [5, 6]],
        }
        for label, kind in kinds.items()
    ]
    write_film(path.with_suffix(".png"))
    path.write_text(json.dumps({"shapes": shapes}))


def test_shapes_of_landmarks_are_refused_and_others_noted(tmp_path):
    folder = tmp_path / "films"
    for id in "ABC":
        write_labelme(folder / f"{id}.json", a="point", b="circle", film="rectangle")
    assert errors(folder, tmp_path) == []
    notes = [f.message for f in check_folder(folder).findings if f.severity == "note"]
    (note,) = [n for n in notes if "no points are not read" in n]
    assert "'film' (rectangle) of 3 images" in note
    write_labelme(folder / "C.json", a="point", b="polygon", film="rectangle")
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("C.json: the landmark 'b' of 'C' must be a point.")
    # A name of the settings is a landmark in any case.
    write_labelme(folder / "C.json", a="point", b="circle", film="rectangle")
    (folder / "landmarks.toml").write_text('names = ["a", "b", "film"]\n')
    assert "A.json: the landmark 'film' of 'A' must be" in errors(folder, tmp_path)[0]


def test_files_of_boxes_only(tmp_path):
    folder = tmp_path / "films"
    for id in "AB":
        write_labelme(folder / f"{id}.json", a="rectangle")
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("The files of points have no point: all landmarks of 2 ")
    notes = [f.message for f in check_folder(folder).findings if f.severity == "note"]
    assert any("'a' (rectangle) of 2 images" in note for note in notes)


def test_image_without_a_point_is_noted(tmp_path):
    table = "image,a_x,a_y\nA.png,1,2\nB.png,,\n"
    folder = write_table(tmp_path / "films", table)
    notes = [f.message for f in check_folder(folder).findings if f.severity == "note"]
    assert any("of 1 of 2 images have no point" in n and "B" in n for n in notes)


def test_columns_that_are_not_read_are_noted(tmp_path):
    table = "image,a_x,a_y,a_likelihood\nA.png,1,2,0.5\nB.png,3,4,0.6\n"
    folder = write_table(tmp_path / "films", table)
    cls = builder_class("landmark_folder")
    notes = cls(folder=folder, data_dir=tmp_path / "none").folder_notes(folder)
    assert any(
        note.startswith("points.csv: columns of numbers ") and "a_likelihood" in note
        for note in notes
    )


# --- Names ---


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_forms_of_unicode_are_one(tmp_path, form):
    def text(value):
        return unicodedata.normalize(form, value)

    def other(value):
        return unicodedata.normalize({"NFC": "NFD", "NFD": "NFC"}[form], value)

    folder = tmp_path / "films"
    path = folder / text("Röntgen") / text("Müller.png")
    write_film(path)
    (folder / "p.csv").write_text(
        other("image,Öhr_x,Öhr_y,patient,split\nMüller.png,1,2,Jürgen,train\n"),
        encoding="utf-8",
    )
    (folder / "landmarks.toml").write_text(
        text('names = ["Öhr"]\n') + other('files.images = "Röntgen"\n'),
        encoding="utf-8",
    )
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["Müller"]
    assert case.image_path == path
    assert case.group == "Jürgen"
    np.testing.assert_array_equal(case.points["points"], [[1, 2]])
    # A file for each image, by a pattern; and a list of images.
    (folder / "p.csv").unlink()
    points = PointSet(["Öhr"], [[3, 4]])
    write_points(folder / text("Müller_1.json"), points)
    (folder / "landmarks.toml").write_text(
        other('files.points = "{id}_1.json"\n[splits]\ntest = ["Müller.png"]\n'),
        encoding="utf-8",
    )
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["Müller"]
    assert case.split == "test"
    np.testing.assert_array_equal(case.points["points"], [[3, 4]])


# --- A folder a case, as 3D Slicer saves scenes ---


def write_head(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.Image([8, 7, 6], sitk.sitkUInt8), str(path))


def write_markups(path, x):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_points(path, PointSet(["a"], [[x, 2.0, 3.0]], "LPS"))


@pytest.mark.parametrize(
    ("image", "points"),
    [
        ("{}/CT.nrrd", "{}/F.mrk.json"),
        ("{}/CT.nrrd", "{}/CT.mrk.json"),
        ("{}/CT.nrrd", "{}/CT.fcsv"),
        ("{}/images/CT.nrrd", "{}/points/F.mrk.json"),
        ("site/{}/CT.nrrd", "site/{}/F.mrk.json"),
    ],
)
def test_a_folder_for_each_case(tmp_path, image, points):
    folder = tmp_path / "heads"
    for x, case in enumerate(("case1", "case2", "case3"), 1):
        write_head(folder / image.format(case))
        write_markups(folder / points.format(case), x)
    assert errors(folder, tmp_path) == []
    cases = cases_of(folder, tmp_path)
    assert [*cases] == ["case1", "case2", "case3"]
    for x, case in enumerate(cases.values(), 1):
        np.testing.assert_array_equal(case.points["points"], [[x, 2, 3]])


def test_images_of_different_names_keep_them(tmp_path):
    folder = tmp_path / "heads"
    for x in (1, 2):
        write_head(folder / f"case{x}" / f"CT{x}.nrrd")
        write_markups(folder / f"case{x}" / "F.mrk.json", x)
    assert errors(folder, tmp_path) == []
    cases = cases_of(folder, tmp_path)
    assert [*cases] == ["CT1", "CT2"]
    np.testing.assert_array_equal(cases["CT2"].points["points"], [[2, 2, 3]])


def test_cases_in_a_table_by_path(tmp_path):
    folder = tmp_path / "films"
    for case in ("case1", "case2"):
        write_film(folder / case / "film.png")
    (folder / "p.csv").write_text(
        "image,a_x,a_y\ncase1/film.png,1,2\ncase2\\film.png,3,4\n"
    )
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["case2"]
    np.testing.assert_array_equal(case.points["points"], [[3, 4]])


def test_two_files_of_points_in_the_folder_of_a_case(tmp_path):
    folder = tmp_path / "heads"
    for case in ("case1", "case2"):
        write_head(folder / case / "CT.nrrd")
        write_markups(folder / case / "F.mrk.json", 1)
    write_markups(folder / "case2" / "G.mrk.json", 1)
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("case2/CT.nrrd has points more than once, and none")
    (folder / "landmarks.toml").write_text('files.points = "{id}/F.mrk.json"\n')
    assert errors(folder, tmp_path) == []


def test_lines_and_regions_beside_the_points_of_a_case(tmp_path):
    folder = tmp_path / "heads"
    for case in ("case1", "case2"):
        write_head(folder / case / "CT.nrrd")
        write_markups(folder / case / "F.mrk.json", 1)
        for kind in ("ROI", "Line"):
            points = [{"label": f"{kind}-1", "position": [1, 2, 3]}]
            node = {"type": kind, "controlPoints": points}
            path = folder / case / f"{kind}.mrk.json"
            path.write_text(json.dumps({"markups": [node]}))
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["case2"]
    np.testing.assert_array_equal(case.points["points"], [[1, 2, 3]])
    messages = " ".join(f.message for f in check_folder(folder).findings)
    assert "'ROI-1' (control point of a markup of type ROI) of 2 images" in messages
    assert "'Line-1'" in messages


def test_two_images_of_one_name_in_shared_folders(tmp_path):
    folder = tmp_path / "heads"
    for case in ("case1", "case2"):
        write_head(folder / case / "CT.nrrd")
        write_head(folder / case / "MR.nrrd")
        write_markups(folder / case / "CT.mrk.json", 1)
    problems = errors(folder, tmp_path)
    assert problems[0].startswith("case1/CT.nrrd and case2/CT.nrrd have the same id")


def test_segmentations_and_surfaces_are_passed_over(tmp_path):
    folder = tmp_path / "heads"
    write_head(folder / "A.nrrd")
    write_head(folder / "A.seg.nrrd")
    (folder / "A_model.vtk").write_text(
        "# vtk DataFile Version 5.1\nskull\nASCII\nDATASET POLYDATA\nPOINTS 0 float\n"
    )
    write_head(folder / "B.vtk")
    for id in "AB":
        write_markups(folder / f"{id}.mrk.json", 1)
    assert errors(folder, tmp_path) == []
    assert [*cases_of(folder, tmp_path)] == ["A", "B"]


def test_label_maps_beside_images_are_passed_over(tmp_path):
    folder = tmp_path / "heads"
    for case in ("case1", "case2"):
        write_head(folder / case / "CT.nrrd")
        write_head(folder / case / "CT-label.nrrd")
        write_head(folder / case / "Segmentation.seg.nrrd")
        write_markups(folder / case / "F.mrk.json", 1)
        (folder / case / "scene.mrml").write_text("<MRML></MRML>")
    assert errors(folder, tmp_path) == []
    assert [*cases_of(folder, tmp_path)] == ["case1", "case2"]
    notes = " ".join(f.message for f in check_folder(folder).findings)
    assert "case1/CT-label.nrrd has the name of a label map and is passed" in notes
    assert "case1/Segmentation.seg.nrrd is a segmentation" in notes
    assert "case1/scene.mrml is not read. It is a scene of 3D Slicer." in notes
    assert "(And 1 more files.)" in notes


def test_image_that_is_called_like_a_label_map(tmp_path):
    folder = tmp_path / "heads"
    write_head(folder / "A" / "mask.nrrd")
    write_markups(folder / "A" / "F.mrk.json", 1)
    assert errors(folder, tmp_path) == []
    assert [*cases_of(folder, tmp_path)] == ["mask"]


# --- Files of other programs ---


def test_numbered_points_have_the_names_of_the_settings(tmp_path):
    folder = write_table(tmp_path / "films", "x", "AB")
    (folder / "points.csv").unlink()
    (folder / "all.tps").write_text(
        f"LM=2\n3 4\n5 6\nIMAGE=A.jpg\nLM=2\n7 8\n9 {HEIGHT}\nIMAGE=B.jpg\n"
    )
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["B"]
    np.testing.assert_array_equal(case.points["points"], [[7, HEIGHT - 8], [9, 0]])
    assert case.labels == ("1", "2")
    (folder / "landmarks.toml").write_text('names = ["tip", "base"]\n')
    assert errors(folder, tmp_path) == []
    assert cases_of(folder, tmp_path)["B"].labels == ("tip", "base")
    (folder / "landmarks.toml").write_text('names = ["tip", "base", "end"]\n')
    messages = [finding.message for finding in check_folder(folder).findings]
    assert len(messages) == 2  # of A and of B
    for message in messages:
        assert "all.tps: points without labels are told apart by their" in message
        assert "each of the names in landmarks.toml. Received: 2." in message


def test_numbered_points_of_different_counts(tmp_path):
    folder = tmp_path / "films"
    for id, rows in (
        ("A", "0,1,2\n1,3,4\n"),
        ("B", "0,1,2\n"),
        ("C", "0,1,2\n1,3,4\n"),
    ):
        write_film(folder / f"{id}.png")
        (folder / f"{id}.csv").write_text(f"index,axis-0,axis-1\n{rows}")
    (problem,) = errors(folder, tmp_path)
    assert problem.startswith("B.csv: points without labels are told apart by their ")
    assert problem.endswith("'B' must have 2 points, as most files have. Received: 1.")


@pytest.mark.parametrize("name", ["scene.mrb", "points.ods", "RoiSet.roi"])
def test_folder_whose_points_are_in_a_format_that_is_not_read(tmp_path, name):
    folder = write_table(tmp_path / "films", "x", "A")
    (folder / "points.csv").unlink()
    (folder / name).write_bytes(b"x")
    (finding,) = check_folder(folder).findings
    assert finding.severity == "error"
    assert f"{name} is not read. It is a" in finding.message


def test_unicode_text_of_excel(tmp_path):
    folder = write_table(tmp_path / "films", "x", "A")
    (folder / "points.csv").unlink()
    text = "image\ta_x\ta_y\r\nA.png\t1,5\t2\r\n"
    (folder / "points.txt").write_bytes(text.encode("utf-16"))
    assert errors(folder, tmp_path) == []
    case = cases_of(folder, tmp_path)["A"]
    np.testing.assert_array_equal(case.points["points"], [[1.5, 2]])


def test_folder_without_points_names_other_files(tmp_path):
    folder = write_table(tmp_path / "films", "x", "AB")
    (folder / "points.csv").rename(folder / "points.dat")
    (folder / "README").write_text("x")
    (finding,) = check_folder(folder).findings
    expected = "There are no points in .* Other files: 1 .dat, 1 without extension."
    assert re.search(expected, finding.message)


def test_files_called_like_images_are_named(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\nB.png,3,4\n")
    for name in ("A.txt", "B.txt", "notes.txt", "A.raw"):
        (folder / name).write_text("0 0.5 0.5 1 1 0.2 0.3 2")
    assert errors(folder, tmp_path) == []
    notes = [
        f.message for f in check_folder(folder).findings if "not read" in f.message
    ]
    (note,) = notes
    assert note.startswith(
        "A.txt has the name of an image, but is not read: .txt is no"
    )
    assert note.endswith("(And 1 more files.)")


def test_texts_and_xml_of_other_kinds_are_no_points(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\n", "A")
    (folder / "readme.txt").write_text("X and Y\n")
    (folder / "A.xml").write_text("<annotation><object/></annotation>")
    assert errors(folder, tmp_path) == []


def test_table_of_patients_in_any_form(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\nB.png,3,4\n")
    (folder / "landmarks.toml").write_text('files.table = "patients.csv"\n')
    text = "sep=;\nfilm;patient\nA.png;Jörg, E.\nB.png;p2\n"
    (folder / "patients.csv").write_bytes(text.encode("utf-16"))
    assert errors(folder, tmp_path) == []
    assert cases_of(folder, tmp_path)["A"].group == "Jörg, E."


# --- Entries of a folder that are no files ---


def test_links_to_folders_are_followed_once(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write_film(elsewhere / "A.png")
    write_film(tmp_path / "store" / "B.png")
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "site1").symlink_to(elsewhere)
    (folder / "B.png").symlink_to(tmp_path / "store" / "B.png")
    (elsewhere / "up").symlink_to(folder)  # a circle
    (elsewhere / "points.csv").write_text("image,a_x,a_y\nA.png,1,2\nB.png,3,4\n")
    assert errors(folder, tmp_path) == []
    assert [*cases_of(folder, tmp_path)] == ["A", "B"]


def test_entries_that_are_no_files(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\n", "A")
    (folder / "folder.png").mkdir()
    (folder / "folder.csv").mkdir()
    assert errors(folder, tmp_path) == []
    (folder / "C.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "D.png")
    os.mkfifo(folder / "E.csv")
    os.mkfifo(folder / "pipe")
    assert [path.name for path in find_images(folder)] == ["A.png"]
    link, *pipes = errors(folder, tmp_path)
    assert link.startswith("C.png is a link to a file that does not exist.")
    assert link.endswith("Received: 'nowhere.png'.")
    assert [pipe.split()[0] for pipe in pipes] == ["D.png", "E.csv"]


def test_file_of_points_that_is_no_file(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\n", "A")
    (folder / "points.csv").unlink()
    os.mkfifo(folder / "points.csv")
    (finding,) = check_folder(folder).findings
    assert finding.message.endswith(
        "points.csv must be a regular file. Remove or replace it."
    )


def test_names_that_are_no_text(tmp_path):
    folder = write_table(tmp_path / "films", "image,a_x,a_y\nA.png,1,2\n", "A")
    (folder / os.fsdecode(b"f\xff.png")).write_bytes((folder / "A.png").read_bytes())
    (folder / os.fsdecode(b"f\xff.csv")).write_text("label,x,y\na,1,2\n")
    (folder / os.fsdecode(b"f\xff.dcm")).write_bytes(b"x")
    problems = errors(folder, tmp_path)
    assert problems == [
        "The name of a file must be in UTF-8. Rename the file. Received: "
        f"b'f\\xff{suffix}'."
        for suffix in (".csv", ".dcm", ".png")
    ]
    for name in (b"f\xff.png", b"f\xff.dcm"):
        with pytest.raises(ValueError, match=r"must be in UTF-8.* Received: .*f\\xff"):
            read_image_header(folder / os.fsdecode(name))
