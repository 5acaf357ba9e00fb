"""Points, read and written: Slicer, CSV, JSON, labelme, COCO."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from scn_keras.files import (
    PointSet,
    read_image_header,
    read_point_sets,
    read_points,
    write_points,
)

LABELS = ("sella", "nasion, upper", 'the "tip"')
MM = np.array([[12.345678, -67.5, 140.0625], [np.nan] * 3, [-0.1, 1e-5, 1234.56789]])


@pytest.fixture
def space_points():
    return PointSet(LABELS, MM, "LPS")


@pytest.fixture
def oblique(tmp_path):
    """A volume with an oblique direction and no two spacings alike, and its image."""
    image = sitk.Image([30, 20, 10], sitk.sitkUInt8)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.0, 12.5, 140.0))
    image.SetDirection((0.8, -0.36, 0.48, 0.6, 0.48, -0.64, 0.0, 0.8, 0.6))
    sitk.WriteImage(image, str(tmp_path / "head.nrrd"))
    return image, read_image_header(tmp_path / "head.nrrd")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# --- 3D Slicer ---


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("name", ["head.mrk.json", "head.fcsv"])
def test_slicer_files_bring_back_what_was_written(
    tmp_path, space_points, name, system, old
):
    path = tmp_path / name
    write_points(path, space_points, system, old_fcsv=old)
    found = read_points(path)
    assert found.space == "LPS"
    # Up to 4.10, a .fcsv file cannot say that a landmark is missing.
    lost = 1 if old and name.endswith("fcsv") else None
    kept = [row for row in range(3) if row != lost]
    assert found.labels == tuple(LABELS[row] for row in kept)
    np.testing.assert_allclose(found.points, MM[kept], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.ordered(LABELS), MM)


def test_markups_as_slicer_writes_them(tmp_path):
    """RAS differs from LPS in the signs of x and y; undefined is missing."""
    points = [
        {"id": "1", "label": "a", "position": [1.0, 2.0, 3.0], "orientation": [0] * 9},
        {"label": "b", "position": [4.0, 5.0, 6.0], "positionStatus": "undefined"},
        {"label": "c", "position": [7, 8, 9], "positionStatus": "defined"},
        {"label": "d"},
    ]
    for system, sign in (("LPS", 1), ("RAS", -1)):
        node = {"type": "Fiducial", "coordinateSystem": system, "controlPoints": points}
        path = write(tmp_path / "a.mrk.json", json.dumps({"markups": [node]}))
        found = read_points(path)
        assert found.labels == ("a", "b", "c", "d")
        expected = np.full((4, 3), np.nan)
        expected[0], expected[2] = (sign, 2 * sign, 3), (7 * sign, 8 * sign, 9)
        np.testing.assert_array_equal(found.points, expected)


def test_written_markups_are_what_slicer_reads(tmp_path, space_points):
    path = tmp_path / "a.mrk.json"
    write_points(path, space_points, "RAS")
    data = json.loads(path.read_text())
    # Slicer knows the format by the schema's name at the beginning of the file.
    assert "/markups-schema-v1." in path.read_text()[:300]
    (node,) = data["markups"]
    assert node["type"] == "Fiducial"
    assert node["coordinateSystem"] == "RAS"
    first, second, _ = node["controlPoints"]
    assert first["position"] == [-12.345678, 67.5, 140.0625]
    assert first["positionStatus"] == "defined"
    assert second["positionStatus"] == "undefined"


FCSV_COLUMNS = (
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
)


@pytest.mark.parametrize(
    ("system", "sign"),
    [("0", -1), ("1", 1), ("RAS", -1), ("LPS", 1), (None, -1)],
)
def test_coordinate_system_of_fcsv_by_number_by_name_and_by_default(
    tmp_path, system, sign
):
    lines = ["# Markups fiducial file version = 4.10", FCSV_COLUMNS]
    if system is not None:
        lines.insert(1, f"# CoordinateSystem = {system}")
    lines.append("vtkMRMLMarkupsFiducialNode_0,1.5,2.5,3.5,0,0,0,1,1,1,0,F-1,,")
    found = read_points(write(tmp_path / "a.fcsv", "\n".join(lines)))
    np.testing.assert_array_equal(found.points, [[1.5 * sign, 2.5 * sign, 3.5]])
    assert found.labels == ("F-1",)
    assert found.lines == (len(lines),)


def test_status_in_fcsv_of_slicer_5(tmp_path):
    path = write(
        tmp_path / "a.fcsv",
        "# Markups fiducial file version = 5.2\n# CoordinateSystem = LPS\n"
        f"{FCSV_COLUMNS}\n1,1,2,3,0,0,0,1,1,1,0,a,,,2,0\n2,0,0,0,0,0,0,1,1,1,0,b,,,0,0\n"
        '3,4,5,6,0,0,0,1,1,1,0,"c, d",,,2,0\n',
    )
    found = read_points(path)
    assert found.labels == ("a", "b", "c, d")
    np.testing.assert_array_equal(
        found.points, [[1, 2, 3], [np.nan, np.nan, np.nan], [4, 5, 6]]
    )


def test_fcsv_of_slicer_3_has_other_columns(tmp_path):
    path = write(
        tmp_path / "a.fcsv",
        "# Fiducial List file /a.fcsv\n# columns = label,x,y,z,sel,vis\nL1,1,2,3,1,1\n",
    )
    np.testing.assert_array_equal(read_points(path).points, [[-1, -2, 3]])


def test_fcsv_in_index_coordinates(tmp_path):
    path = write(
        tmp_path / "a.fcsv",
        f"# CoordinateSystem = 2\n{FCSV_COLUMNS}\n1,1,2,3,0,0,0,1,1,1,0,a,,\n",
    )
    found = read_points(path)
    assert found.space == "pixels"
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


# --- Space ---


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("name", ["p.mrk.json", "p.fcsv"])
def test_round_trip_through_an_oblique_volume(tmp_path, oblique, name, system):
    image, header = oblique
    pixels = np.array([[0.0, 0.0, 0.0], [29.25, 19.5, 9.125], [-3.7, 11.1, 4.9]])
    points = PointSet(("a", "b", "c"), pixels).to_lps(header)
    for row, point in zip(points.points, pixels, strict=True):
        expected = image.TransformContinuousIndexToPhysicalPoint(point)
        np.testing.assert_allclose(row, expected, atol=1e-9)
    write_points(tmp_path / name, points, system)
    found = read_points(tmp_path / name)
    for row, point in zip(found.points, pixels, strict=True):
        index = image.TransformPhysicalPointToContinuousIndex(row)
        np.testing.assert_allclose(index, point, atol=1e-4)
    np.testing.assert_allclose(found.to_pixels(header).points, pixels, atol=1e-9)
    np.testing.assert_allclose(found.to_pixels(header.affine).points, pixels, atol=1e-9)


def test_film_marked_in_slicer(tmp_path):
    """Slicer shows a film as a volume of one slice, with the density of its file."""
    path = tmp_path / "film.jpg"
    Image.fromarray(np.zeros((48, 40), np.uint8)).save(path, dpi=(300, 300))
    image = sitk.ReadImage(str(path))
    x, y = image.TransformContinuousIndexToPhysicalPoint((20.25, 30.5))
    found = PointSet(("a", "b"), [[x, y, 0.0], [np.nan] * 3], "LPS").to_pixels(
        read_image_header(path)
    )
    np.testing.assert_allclose(found.points, [[20.25, 30.5], [np.nan] * 2])


def test_sagittal_slice_marked_in_slicer(tmp_path):
    image = sitk.Image([40, 48, 1], sitk.sitkUInt8)
    image.SetSpacing((0.3, 0.4, 5.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    sitk.WriteImage(image, str(tmp_path / "film.mha"))
    header = read_image_header(tmp_path / "film.mha")
    assert header.shape == (48, 40)
    place = image.TransformContinuousIndexToPhysicalPoint((20.25, 30.5, 0.0))
    found = PointSet(("a",), [place], "LPS").to_pixels(header)
    np.testing.assert_allclose(found.points, [[20.25, 30.5]])
    np.testing.assert_allclose(found.to_lps(header).points, [place])


def test_point_off_the_only_slice_is_refused(tmp_path):
    sitk.WriteImage(sitk.Image([40, 48, 1], sitk.sitkUInt8), str(tmp_path / "a.mha"))
    points = PointSet(("a", "b"), [[1, 2, 0.2], [1, 2, 7.0]], "LPS")
    with pytest.raises(ValueError, match="Received: 'b', 7.0 slices"):
        points.to_pixels(read_image_header(tmp_path / "a.mha"))


def test_millimetres_of_two_coordinates_need_a_calibrated_film(tmp_path):
    points = PointSet(("a",), [[1.0, 2.0]], "LPS")
    affine = np.diag([0.1, 0.2, 1.0])
    np.testing.assert_allclose(points.to_pixels(affine).points, [[10.0, 10.0]])
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "film.png")
    with pytest.raises(ValueError, match="millimetres need a calibrated 2D image"):
        points.to_pixels(read_image_header(tmp_path / "film.png"))


def test_points_and_image_of_unlike_axes(oblique):
    with pytest.raises(ValueError, match="must have 3 coordinates.* Received: 2"):
        PointSet(("a",), [[1.0, 2.0]]).to_pixels(oblique[1])


def test_real_markups_lie_in_their_volumes(shared_data):
    folder = shared_data / "mouse_skull"
    for path in sorted((folder / "landmarks").iterdir())[:3]:
        name = path.name.replace(".mrk.json", ".nii.gz")
        points = read_points(path)
        assert len(points.labels) == 45
        assert points.labels[0] == "1"
        assert points.labels[-1] == "51"
        header = read_image_header(folder / "volumes" / name)
        image = sitk.ReadImage(str(folder / "volumes" / name))
        found = points.to_pixels(header).points
        expected = [
            image.TransformPhysicalPointToContinuousIndex(row) for row in points.points
        ]
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert (found > 0).all()
        assert (found < np.array(header.shape[::-1]) - 1).all()


# --- CSV ---


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("space", ["pixels", "LPS"])
@pytest.mark.parametrize("axes", [2, 3])
def test_tables_bring_back_what_was_written(tmp_path, layout, space, axes):
    sets = [
        PointSet(LABELS, MM[:, :axes] + shift, space, f"{shift}.png")
        for shift in (0, 1)
    ]
    write_points(tmp_path / "a.csv", sets, layout=layout)
    found = read_point_sets(tmp_path / "a.csv")
    assert [points.image for points in found] == ["0.png", "1.png"]
    for points, expected in zip(found, sets, strict=True):
        assert points.labels == LABELS
        assert points.space == space
        np.testing.assert_array_equal(points.points, expected.points)


def test_wide_table_with_other_columns(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "\ufeffpatient;id;sella_x;sella_y;nasion x;nasion y;split\n"
        "p1;001.png;1.5;2;;;train\n\np2;002.png;3;4;nan;NaN;test\n",
    )
    first, second = read_point_sets(path)
    assert first.labels == ("sella", "nasion")
    assert first.attributes == {"patient": "p1", "split": "train"}
    assert first.lines == (2, 2)
    assert second.lines == (4, 4)
    np.testing.assert_array_equal(second.points, [[3, 4], [np.nan, np.nan]])


def test_long_table_with_other_columns(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "image,landmark,x,y,patient,score\na,s,1,2,p1,0.5\na,n,3,4,p1,0.7\nb,s,5,6,p2,1\n",
    )
    first, second = read_point_sets(path)
    assert first.labels == ("s", "n")
    assert first.attributes == {"patient": "p1"}  # the scores are the landmarks'
    assert second.image == "b"


def test_table_of_one_image_without_a_column_for_it(tmp_path):
    found = read_points(write(tmp_path / "a.csv", "label,x,y,z\ns,1,2,3\n"))
    assert found.image == ""
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


def test_which_space_a_table_is_in(tmp_path):
    path = write(tmp_path / "a.csv", "label,x,y\ns,1,2\n")
    assert read_points(path).space == "pixels"
    assert read_points(path, "LPS").space == "LPS"
    both = write(tmp_path / "b.csv", "file,landmark,x_px,y_px,x_mm,y_mm\na,s,1,2,3,4\n")
    for space, expected in (("pixels", [[1, 2]]), ("LPS", [[3, 4]])):
        found = read_points(both, space)
        assert found.space == space
        np.testing.assert_array_equal(found.points, expected)
    mm = write(tmp_path / "c.csv", "image,s_x_mm,s_y_mm\na,1,2\n")
    assert read_points(mm).space == "LPS"


# --- JSON ---


def test_own_json_brings_back_what_was_written(tmp_path, space_points):
    write_points(tmp_path / "a.json", space_points)
    found = read_points(tmp_path / "a.json")
    assert (found.labels, found.space, found.image) == (LABELS, "LPS", "")
    np.testing.assert_array_equal(found.points, MM)
    flat = [PointSet(LABELS, MM[:, :2], image=name) for name in ("a.png", "b.png")]
    write_points(tmp_path / "b.json", flat)
    first, second = read_point_sets(tmp_path / "b.json")
    assert (first.image, second.image, first.space) == ("a.png", "b.png", "pixels")
    np.testing.assert_array_equal(second.points, MM[:, :2])


def test_own_json_that_does_not_say_its_space(tmp_path):
    text = '{"points": [{"label": "a", "position": [1, 2]}]}'
    path = write(tmp_path / "a.json", text)
    assert read_points(path).space == "pixels"
    assert read_points(path, space="LPS").space == "LPS"


def test_labelme_counts_from_the_edge_of_the_first_pixel(tmp_path):
    shapes = [
        {"label": "a", "points": [[10.5, 20.0]], "shape_type": "point"},
    ]
    data = {"imagePath": "..\\films\\1.png", "shapes": shapes, "imageData": None}
    found = read_points(write(tmp_path / "1.json", json.dumps(data)))
    assert found.labels == ("a",)
    assert found.image == "..\\films\\1.png"
    np.testing.assert_array_equal(found.points, [[10.0, 19.5]])


COCO = {
    "images": [
        {"id": 7, "file_name": "a.png"},
        {"id": 8, "file_name": "sub/b.png"},
    ],
    "categories": [{"id": 1, "name": "hip", "keypoints": ["left", "right"]}],
    "annotations": [
        {"image_id": 8, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0]},
        {"image_id": 7, "category_id": 1, "keypoints": [3, 4, 1, 5, 6, 2]},
    ],
}


def test_coco_keypoints(tmp_path):
    first, second = read_point_sets(write(tmp_path / "a.json", json.dumps(COCO)))
    assert (first.image, second.image) == ("sub/b.png", "a.png")
    assert first.labels == ("left", "right")
    np.testing.assert_array_equal(first.points, [[1, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(second.points, [[3, 4], [5, 6]])


# --- Bad input: the file and the line are named ---


def changed_coco(**annotation):
    data = json.loads(json.dumps(COCO))
    data["annotations"][1].update(annotation)
    return json.dumps(data, indent=1)


def markups(**point):
    node = {"controlPoints": [{"label": "a", "position": [1, 2, 3], **point}]}
    return json.dumps({"markups": [node]}, indent=1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "label,x,y\na,1,2\nb,one,2\n",
            "a.csv, line 3: the position of 'b' m",
        ),
        ("a.csv", "label,x,y\na,1,inf\n", "line 2: .* must have 2 finite numbers"),
        (
            "a.csv",
            "label,x,y\na,1,\n",
            "line 2: .* all coordinates.* Received: x='1', y=''",
        ),
        (
            "a.csv",
            "label,x,y\na,nan,2\n",
            "line 2: the position of 'a' .* Received: x='nan', y='2'",
        ),
        ("a.csv", "label,x,y\na,1\n", "line 2 must have 3 columns .* Received: 2"),
        ("a.csv", "1,2,3\n4,5,6\n", "line 1 is not the header of a table"),
        ("a.csv", "id,a_x,b_y\n1,2,3\n", "line 1: 'a' must have columns for x and y"),
        ("a.csv", "id,a_x,a_y,a_x\n1,2,3,4\n", r"line 1: .* more than once: \['a_x'\]"),
        ("a.csv", "a_x,a_y,b_x,b_y\n1,2,3,4\n", "line 1 has no column of images"),
        ("a.csv", "id,x,y\n1,2,3\n", "line 1 has no column of labels"),
        (
            "a.csv",
            "id,a_x,a_y\n1,2,3\n2,4,5\n1,6,7\n",
            "line 4: .*Received: '1', .* line 2",
        ),
        ("a.csv", "id,a_x,a_y\n,2,3\n", "line 2 has no name of an image"),
        (
            "a.csv",
            "id,label,x,y\n1,,2,3\n",
            "line 2 .* image or of a landmark",
        ),
        ("a.csv", "", "file of points is empty: .*a.csv"),
        ("a.json", '{"points": [\n{"label": "a",\n]}', "a.json, line 3 is not JSON"),
        ("a.json", '{"a": 1}', "COCO .* Received: .*a.json"),
        ("a.json", "[1]", "a.json: a list in JSON must be .*Label Studio"),
        (
            "a.json",
            '{"points": [\n{"label": "a", "position": [1, "x"]}]}',
            "line 2: the p",
        ),
        (
            "a.json",
            '{"points": [\n{"label": "a", "position": [1]}]}',
            "a list of 2 or 3 nu",
        ),
        (
            "a.json",
            '{"points": [\n{"position": [1, 2]}]}',
            "line 2: the point has no lab",
        ),
        ("a.json", '{"space": "RAS", "points": []}', "`space` must be one of .*'RAS'"),
        ("a.json", '{"points": 3}', "line 1: 'points' must be a list of objects"),
        (
            "a.json",
            '{"shapes": [\n{"label": "a", "points": [[1, "b"]]}]}',
            "line 2: the",
        ),
        (
            "a.json",
            '{"shapes": [{"label": "a", "points": [[1, 2], [3, 4]]}]}',
            "one point",
        ),
        (
            "a.json",
            changed_coco(image_id=9),
            "line 35: .* is not in the list of images",
        ),
        ("a.json", changed_coco(image_id=8), "line 35: .*keypoints on line 23"),
        ("a.json", changed_coco(keypoints=[1, 2, 2]), "line 35 must have x, y and vis"),
        (
            "a.json",
            changed_coco(keypoints=["a", 2, 2, 1, 1, 1]),
            "line 35: 'left' must",
        ),
        (
            "a.json",
            changed_coco(category_id=5),
            "35: .*category .*keypoints=None",
        ),
        (
            "a.mrk.json",
            markups(position=["a", 2, 3]),
            "a.mrk.json, line 5: the posi.*'a'",
        ),
        (
            "a.mrk.json",
            markups(position=[1, 2]),
            "line 5: .* must have 3 finite numbers",
        ),
        ("a.mrk.json", markups(position="1 2 3"), "line 5: .* must be a list"),
        ("a.mrk.json", markups(label=""), "line 5: control point 1 has no label"),
        ("a.mrk.json", '{"markups": [{"type": "Line"}]}', "no point list"),
        (
            "a.mrk.json",
            '{"markups": [\n{"coordinateSystem": "RPS", "controlPoints": []}]}',
            "line 2: `coordinateSystem` must be LPS or RAS. Received: 'RPS'",
        ),
        ("a.mrk.json", '{"markups": [{"coordinateUnits": "in"}]}', "must be .*'in'"),
        (
            "a.fcsv",
            "# CoordinateSystem = 7\n",
            "line 1: CoordinateSystem must be RAS or",
        ),
        ("a.fcsv", "# x\n1,2,3\n", "line 2 must have the columns id,x,y,z"),
        (
            "a.fcsv",
            "# columns = id,x,y\n",
            r"line 1: the columns \['label', 'z'\] are m",
        ),
        (
            "a.fcsv",
            "1,a,2,3,0,0,0,1,1,1,0,F,,\n",
            "line 1: the position of 'F' must have",
        ),
        ("a.fcsv", "1,1,2,3,0,0,0,1,1,1,0,,,\n", "line 1: the point has no label"),
        ("a.txt", "1 2", "line 1 is not the header of a table of points"),
        ("a.dat", "1 2", "must be .mrk.json, .fcsv, .*or .xls. Received: .*a.dat"),
    ],
)
def test_bad_files_of_points(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_point_sets(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.mrk.json", "a.fcsv"])
def test_file_that_is_no_text(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x81\x00\xff\xfe")
    with pytest.raises(ValueError, match=f"{name} is not a text file"):
        read_points(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: .*a.csv"):
        read_points(tmp_path / "a.csv")


def test_several_images_where_one_is_wanted(tmp_path):
    path = write(tmp_path / "a.csv", "id,a_x,a_y\n1,2,3\n2,4,5\n")
    with pytest.raises(ValueError, match="points of one image.* Received: .* 2 images"):
        read_points(path)
    with pytest.raises(ValueError, match="`space` must be one of .*'mm'"):
        read_points(path, space="mm")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a",), [[1.0]]), "one row x, y or x, y, z"),
        ((("a",), [[1.0, 2.0]] * 2), "`labels` .* 2 points. Received: 1 labels"),
        ((("a",), [[1.0, 2.0]], "mm"), "space='mm'"),
        ((("a",), [[1.0, np.nan]]), "finite, or NaN in all"),
        ((("a",), [[1.0, np.inf]]), "finite, or NaN in all"),
    ],
)
def test_wrong_point_sets(arguments, message):
    with pytest.raises(ValueError, match=message):
        PointSet(*arguments)


# --- Writing ---


def test_an_interrupted_write_leaves_the_old_file(tmp_path, space_points, monkeypatch):
    path = tmp_path / "a.mrk.json"
    write_points(path, space_points)
    before = path.read_bytes()

    def broken(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_points(path, PointSet(("b",), [[1.0, 2.0, 3.0]], "LPS"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mrk.json"]


@pytest.mark.parametrize("name", ["a.mrk.json", "a.fcsv"])
def test_slicer_files_hold_points_in_space_of_one_image(tmp_path, space_points, name):
    for points in (
        PointSet(("a",), [[1.0, 2.0, 3.0]]),
        PointSet(("a",), [[1.0, 2.0]], "LPS"),
        [space_points, space_points],
    ):
        with pytest.raises(ValueError, match="can hold the points of one image, x, y"):
            write_points(tmp_path / name, points)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("a.txt", {}, "must be .mrk.json, .fcsv, .csv or .json"),
        ("a.fcsv", {"coordinate_system": "0"}, "coordinate_system='0'"),
        ("a.csv", {"layout": "broad"}, "layout='broad'"),
    ],
)
def test_wrong_arguments_of_writing(tmp_path, space_points, name, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_points(tmp_path / name, space_points, **arguments)


def test_one_space_a_table(tmp_path, space_points):
    flat = PointSet(("a",), [[1.0, 2.0]])
    with pytest.raises(ValueError, match="one space. Received: .*2D pixels.*3D LPS"):
        write_points(tmp_path / "a.csv", [space_points, flat])
    with pytest.raises(ValueError, match=r"Received: points=\[\]"):
        write_points(tmp_path / "a.csv", [])
