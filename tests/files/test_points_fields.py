"""Fields of files of points: each is used, converted or refused, never dropped."""

import json

import numpy as np
import pytest

from scn_keras.files import read_point_sets, read_points
from scn_keras.files.read_points import load_point_sets

NAN = float("nan")
FCSV_HEADER = (
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
)


def write(path, data):
    text = data if isinstance(data, str) else json.dumps(data, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def markups(path, *points, **node):
    node = {"type": "Fiducial", **node, "controlPoints": points}
    return write(path, {"markups": [node]})


# --- 3D Slicer ---


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("defined", [1, 2, 3]),
        ("undefined", [NAN] * 3),
        ("missing", [NAN] * 3),
    ],
)
def test_position_status_of_markups(tmp_path, status, expected):
    point = {"label": "a", "position": [1, 2, 3], "positionStatus": status}
    found = read_points(markups(tmp_path / "a.mrk.json", point))
    np.testing.assert_array_equal(found.points, [expected])


@pytest.mark.parametrize(
    ("status", "expected"),
    [("0", [NAN] * 3), ("1", [1, 2, 3]), ("2", [1, 2, 3]), ("3", [NAN] * 3)],
)
@pytest.mark.parametrize("version", ["4.11", "5.6"])
def test_position_status_of_fcsv(tmp_path, status, expected, version):
    text = (
        f"# Markups fiducial file version = {version}\n# CoordinateSystem = LPS\n"
        f"{FCSV_HEADER}1,1,2,3,0,0,0,1,1,1,0,a,,,{status},0\n"
    )
    (found,) = load_point_sets(write(tmp_path / "a.fcsv", text))
    np.testing.assert_array_equal(found.points, [expected])
    assert len(found.notes) == (status == "1")


@pytest.mark.parametrize("status", ["1", "preview"])
def test_fcsv_with_a_column_of_the_status(tmp_path, status):
    header = FCSV_HEADER.strip() + ",positionStatus\n"
    text = f"# CoordinateSystem = LPS\n{header}1,1,2,3,0,0,0,1,1,1,0,a,,,{status}\n"
    with pytest.warns(UserWarning, match="the positions of a are tentative"):
        found = read_points(write(tmp_path / "a.fcsv", text))
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


def test_hidden_locked_and_unselected_points_are_points(tmp_path):
    point = {"label": "a", "position": [1, 2, 3], "visibility": False, "locked": True}
    path = markups(tmp_path / "a.mrk.json", {**point, "selected": False})
    np.testing.assert_array_equal(read_points(path).points, [[1, 2, 3]])
    text = f"# CoordinateSystem = LPS\n{FCSV_HEADER}1,1,2,3,0,0,0,1,0,0,1,a,,,2,0\n"
    path = write(tmp_path / "a.fcsv", text)
    np.testing.assert_array_equal(read_points(path).points, [[1, 2, 3]])


@pytest.mark.parametrize("kind", ["Line", "Angle", "Curve", "Plane", "ROI"])
def test_control_points_of_other_markups_are_no_points(tmp_path, kind):
    point = {"label": "L-1", "position": [1, 2, 3]}
    fiducial = {"controlPoints": [{"label": "a", "position": [4, 5, 6]}]}
    path = tmp_path / "a.mrk.json"
    write(path, {"markups": [fiducial, {"type": kind, "controlPoints": [point]}]})
    with pytest.warns(UserWarning, match=f"no points are not read: 'L-1' .*{kind}"):
        (found,) = read_point_sets(path)
    assert found.labels == ("a",)
    np.testing.assert_array_equal(found.points, [[4, 5, 6]])
    assert found.shapes == (("L-1", f"control point of a markup of type {kind}"),)
    write(path, {"markups": [{"type": kind, "controlPoints": [point]}]})
    assert load_point_sets(path)[0].labels == ()
    with pytest.raises(ValueError, match=f"a.mrk.json has no points.*'L-1' .*{kind}"):
        read_points(path)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("mm", [1, 2, 3]),
        ("cm", [10, 20, 30]),
        ("m", [1000, 2000, 3000]),
        ("um", [0.001, 0.002, 0.003]),
        (["mm", "UCUM", "millimeter"], [1, 2, 3]),
        (["cm", "UCUM", "centimeter"], [10, 20, 30]),
    ],
)
def test_units_of_markups(tmp_path, units, expected):
    point = {"label": "a", "position": [-1, -2, 3]}
    system = {"coordinateUnits": units, "coordinateSystem": "RAS"}
    found = read_points(markups(tmp_path / "a.mrk.json", point, **system))
    np.testing.assert_allclose(found.points, [expected])


@pytest.mark.parametrize("status", ["preview", "edit"])
def test_tentative_positions_are_points_with_a_warning(tmp_path, status):
    point = {"label": "a", "position": [1, 2, 3], "positionStatus": status}
    path = markups(tmp_path / "a.mrk.json", point)
    with pytest.warns(UserWarning, match="json: the positions of a are tentative"):
        found = read_points(path)
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("point", "node", "message"),
    [
        (
            {"positionStatus": "guessed"},
            {},
            "line 6: `positionStatus` must be one of .* Received: 'guessed'",
        ),
        ({"positionStatus": 2}, {}, "`positionStatus` must .* Received: 2"),
        (
            {"position": None, "positionStatus": "defined"},
            {},
            "`positionStatus` is defined.* Received: None",
        ),
        ({"label": None}, {}, "control point 1 has no label.* label=None"),
        ({"label": " "}, {}, "control point 1 has no label"),
        ({}, {"coordinateUnits": "px"}, "`coordinateUnits` must be one of .* 'px'"),
        ({}, {"coordinateUnits": ["mm", "mm"]}, "`coordinateUnits` must be one of mm"),
        ({}, {"coordinateUnits": ""}, "`coordinateUnits` must be .* Received: ''"),
        ({}, {"coordinateSystem": "IJK"}, "`coordinateSystem` must be .* 'IJK'"),
    ],
)
def test_markups_that_are_refused(tmp_path, point, node, message):
    point = {"label": "a", "position": [1, 2, 3], **point}
    path = markups(tmp_path / "a.mrk.json", point, **node)
    with pytest.raises(ValueError, match=f"a.mrk.json, .*{message}"):
        read_points(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        # 1,5 2,5 3,5 of versions 4.10 and 5
        ("1,1,5,2,5,3,5,0,0,0,1,1,1,0,a,,", "14 or 16 values .* Received: 17 values"),
        ("1,1,5,2,5,3,5,0,0,0,1,1,1,0,a,,,2,0", "14 or 16 values.* 19 values"),
        ("1,1,5,2,3,0,0,0,1,1,1,0,a,,", "14 or 16 values .* Received: 15 values"),
        # Two decimal commas give as many values as version 5 has.
        ("1,1,5,2,5,3,0,0,0,1,1,1,0,a,,", "positionStatus, value 15.* Received: ''"),
        ("1,1,2,3,0,0,0,1,1,1,0,a,,,7,0", "3 missing. Received: '7'"),
        ("1,,,,0,0,0,1,1,1,0,a,,,2,0", "'a' must be three numbers .* status is 2"),
    ],
)
def test_rows_of_fcsv_that_are_refused(tmp_path, row, message):
    path = write(tmp_path / "a.fcsv", f"{FCSV_HEADER}{row}\n")
    with pytest.raises(ValueError, match=f"a.fcsv, line 2.*{message}"):
        read_point_sets(path)


# --- labelme ---


def labelme(path, *shapes, **data):
    return write(path, {"shapes": shapes, "imagePath": "a.png", **data})


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("point", [[10.5, 20]]),
        ("points", [[10.5, 20]]),
        # The second point lies on the circle.
        ("circle", [[10.5, 20], [13.5, 24]]),
    ],
)
def test_shapes_of_labelme_that_are_points(tmp_path, kind, points):
    shape = {"label": "a", "shape_type": kind, "points": points}
    path = labelme(tmp_path / "a.json", shape, imageWidth=80, imageHeight=60)
    found = read_points(path)
    # The edge of the first pixel is at 0 in labelme.
    np.testing.assert_array_equal(found.points, [[10, 19.5]])
    assert found.image_size == (80, 60)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"shape_type": "points"}, "'a' must be one point.* shape_type='points'"),
        ({"shape_type": "circle", "points": [[1, 2]]}, "must be a centre and a point"),
        ({"label": None}, "the point has no label. .* label=None"),
        ({"points": [[None, None]]}, "'a' must be two numbers"),
    ],
)
def test_shapes_of_labelme_that_are_refused(tmp_path, shape, message):
    good = {"label": "b", "points": [[1, 2]], "shape_type": "point"}
    bad = {"label": "a", "points": [[1, 2], [3, 4]], "shape_type": "point", **shape}
    if "label" in shape:
        bad["points"] = [[1, 2]]
    path = labelme(tmp_path / "a.json", good, bad)
    with pytest.raises(ValueError, match=f"a.json, line .*{message}"):
        read_points(path)


@pytest.mark.parametrize("kind", ["rectangle", "polygon", "linestrip", "mask", "star"])
def test_shapes_of_labelme_that_are_no_points(tmp_path, kind):
    good = {"label": "b", "points": [[1, 2]], "shape_type": "point"}
    other = {"label": "a", "points": [[1, 2], [3, 4], [5, 6]], "shape_type": kind}
    path = labelme(tmp_path / "a.json", good, other)
    with pytest.warns(UserWarning, match=f"json: shapes .* not read: 'a' .{kind}"):
        found = read_points(path)
    assert found.labels == ("b",)
    assert found.shapes == (("a", kind),)
    path = labelme(tmp_path / "a.json", other)
    with pytest.raises(ValueError, match=f"no points of a.png. .*'a' .{kind}"):
        read_point_sets(path)


@pytest.mark.parametrize("size", [{"imageWidth": 80}, {"imageWidth": 1.5}])
def test_half_a_size_of_an_image(tmp_path, size):
    with pytest.raises(ValueError, match="'imageWidth' and 'imageHeight' must be two"):
        read_points(labelme(tmp_path / "a.json", **size))


# --- COCO ---


def coco(path, annotations, *categories):
    categories = categories or [{"id": 1, "name": "hip", "keypoints": ["a", "b"]}]
    image = {"id": 7, "file_name": "a.png", "width": 80, "height": 60}
    other = {"id": 8, "file_name": "b.png"}
    for annotation in annotations:
        annotation.setdefault("image_id", 7)
        annotation.setdefault("category_id", 1)
    data = {"images": [image, other], "categories": [*categories]}
    return write(path, {**data, "annotations": annotations})


@pytest.mark.parametrize(
    ("keypoints", "number", "expected"),
    [
        ([1, 2, 2, 3, 4, 1], 2, [[1, 2], [3, 4]]),
        # Of tools that count visible keypoints only.
        ([1, 2, 2, 3, 4, 1], 1, [[1, 2], [3, 4]]),
        # Of tools that count all of them.
        ([1, 2, 2, 0, 0, 0], 2, [[1, 2], [NAN, NAN]]),
        ([1, 2, 2, 0, 0, 0], 1, [[1, 2], [NAN, NAN]]),
        ([], 0, [[NAN, NAN]] * 2),
        ([], None, [[NAN, NAN]] * 2),
    ],
)
def test_visibility_of_coco(tmp_path, keypoints, number, expected):
    annotation = {"keypoints": keypoints, "num_keypoints": number}
    found = read_points(coco(tmp_path / "a.json", [annotation]))
    assert found.labels == ("a", "b")
    assert found.image_size == (80, 60)
    np.testing.assert_array_equal(found.points, expected)


def test_coordinates_of_invisible_keypoints_are_noted(tmp_path):
    path = coco(tmp_path / "a.json", [{"keypoints": [1, 2, 2, 3, 4, 0]}])
    message = "b have the visibility 0 and coordinates, which are not used"
    with pytest.warns(UserWarning, match=message):
        read_points(path)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [({"bbox": [1, 2, 3, 4]}, "box"), ({"segmentation": [[1, 2]]}, "segmentation")],
)
def test_annotations_of_coco_without_keypoints(tmp_path, shape, kind):
    path = coco(tmp_path / "a.json", [shape])
    assert load_point_sets(path)[0].shapes == (("hip", kind),)
    with pytest.raises(ValueError, match=f"no points of a.png. .*'hip' .{kind}"):
        read_point_sets(path)


def test_one_empty_annotation_of_coco(tmp_path):
    points = {"keypoints": [1, 2, 2, 3, 4, 2]}
    empty = {"keypoints": []}
    for annotations in ([points, empty], [empty, points]):
        found = read_points(coco(tmp_path / "a.json", annotations))
        np.testing.assert_array_equal(found.points, [[1, 2], [3, 4]])
    first, second = read_point_sets(
        coco(tmp_path / "a.json", [{"keypoints": [], "image_id": 8}, points])
    )
    assert (first.image, second.image) == ("b.png", "a.png")
    assert np.isnan(first.points).all()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"keypoints": ["sella"]}, {"keypoints": ["nasion"]}),
        ({"keypoints": ["point"]}, {"keypoints": ["point"]}),
        ({"keypoints": []}, {}),
    ],
)
def test_a_category_of_coco_for_each_landmark(tmp_path, first, second):
    path = coco(
        tmp_path / "a.json",
        [
            {"category_id": 2, "keypoints": [3, 4, 2]},
            {"category_id": 1, "keypoints": [1, 2, 2]},
        ],
        {"id": 1, "name": "sella", **first},
        {"id": 2, "name": "nasion", **second},
    )
    found = read_points(path)
    assert found.labels == ("nasion", "sella")
    np.testing.assert_array_equal(found.points, [[3, 4], [1, 2]])


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ([{"keypoints": [1, 2, 3, 3, 4, 2]}], "visibility of 'a' must be .* 3"),
        ([{"keypoints": [1, 2, 0.9, 3, 4, 2]}], "visibility of 'a' must be .* 0.9"),
        ([{"keypoints": [None, None, 2, 3, 4, 2]}], "'a' must have coordinates, or"),
        (
            [{"keypoints": [1, 2, 2, 3, 4, 0], "num_keypoints": 2}],
            "`num_keypoints` must be .*, 1. .* Received: num_keypoints=2",
        ),
        (
            [{"keypoints": [], "num_keypoints": 2}],
            "`num_keypoints` must be .*, 0. .* Received: num_keypoints=2",
        ),
        ([{"keypoints": [1, 2, 2, 3, 4, 2]}] * 2, "the landmarks of one object only"),
    ],
)
def test_annotations_of_coco_that_are_refused(tmp_path, annotations, message):
    path = coco(tmp_path / "a.json", annotations)
    with pytest.raises(ValueError, match=f"a.json, line .*{message}"):
        read_point_sets(path)


def test_categories_of_coco_that_share_keypoints(tmp_path):
    annotations = [
        {"category_id": 1, "keypoints": [1, 2, 2, 3, 4, 2]},
        {"category_id": 2, "keypoints": [1, 2, 2, 3, 4, 2]},
    ]
    categories = [{"id": id, "name": "x", "keypoints": ["a", "b"]} for id in (1, 2)]
    with pytest.raises(ValueError, match="one object only.* called a, b on line"):
        read_points(coco(tmp_path / "a.json", annotations, *categories))


def test_ids_of_coco_that_occur_twice(tmp_path):
    categories = [{"id": 1, "name": name, "keypoints": ["a"]} for name in "xy"]
    with pytest.raises(ValueError, match="ids in 'categories' must differ.* id=1"):
        read_point_sets(coco(tmp_path / "a.json", [], *categories))


# --- Tables ---


@pytest.mark.parametrize(
    ("x", "y", "visible", "expected"),
    [
        ("1", "2", "2", [1, 2]),
        ("1", "2", "1", [1, 2]),
        ("1", "2", "True", [1, 2]),
        ("1", "2", "", [1, 2]),
        ("", "", "0", [NAN, NAN]),
        ("0", "0", "0", [NAN, NAN]),
        ("", "", "no", [NAN, NAN]),
    ],
)
@pytest.mark.parametrize("name", ["visibility", "visible", "vis", "v", "present"])
def test_columns_of_visibility(tmp_path, x, y, visible, expected, name):
    wide = f"image,a_x,a_y,a_{name},b_x,b_y\n1.png,{x},{y},{visible},3,4\n"
    found = read_points(write(tmp_path / "a.csv", wide))
    np.testing.assert_array_equal(found.points, [expected, [3, 4]])
    assert found.labels == ("a", "b")
    assert (found.attributes, found.notes) == ({}, ())
    long = f"image,label,x,y,{name}\n1.png,a,{x},{y},{visible}\n"
    found = read_points(write(tmp_path / "a.csv", long))
    np.testing.assert_array_equal(found.points, [expected])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i,a_x,a_y,a_vis\n1,2,3,0\n", "line 2: .*'a' must be empty .* Received: 2, 3"),
        ("i,a_x,a_y,a_vis\n1,,,1\n", "line 2: .*'a' must be numbers where 'vis' is 1"),
        ("label,x,y,visible\na,2,3,0.7\n", "line 2: .*'a' must .* Received: '0.7'"),
        (
            "id,a_x_mm,a_y_mm,b_x_cm,b_y_cm\n1,2,3,4,5\n",
            "line 1: the unit of the column 'b_x_cm' must be px or mm",
        ),
        ("id,x,y,a_x,a_y\n1,2,3,4,5\n", "line 1: each column .* Received: 'x'"),
    ],
)
def test_columns_that_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.csv, {message}"):
        read_point_sets(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("id,a_x,a_y,a_likelihood,age\n1,2,3,0.9,50\n", "'a_likelihood'"),
        ("id,a_x,a_y,a_x2,a_y2,a_by\n1,2,3,4,5,Jo\n", "'a_x2', 'a_y2'"),
        ("label,x,y,row,col,age\na,2,3,3,2,50\n", "'row', 'col'"),
        ("id,a_x,a_y,age,width\n1,2,3,50,640\n", None),
    ],
)
def test_columns_of_numbers_that_are_not_read(tmp_path, text, unread):
    (found,) = load_point_sets(write(tmp_path / "a.csv", text))
    if unread is None:
        assert found.notes == ()
    else:
        (note,) = found.notes
        assert note.endswith(
            f"a.csv: columns of numbers that are no coordinates of "
            f"the points are not read: {unread}."
        )


@pytest.mark.parametrize("name", ["missing", "outside", "absent"])
def test_columns_of_missing_landmarks(tmp_path, name):
    wide = f"image,a_x,a_y,a_{name},b_x,b_y,b_{name}\n1.png,,,1,3,4,0\n"
    found = read_points(write(tmp_path / "a.csv", wide))
    np.testing.assert_array_equal(found.points, [[NAN, NAN], [3, 4]])
    long = f"label,x,y,{name}\na,1,2,1\n"
    with pytest.raises(ValueError, match=f"'a' must be empty where '{name}' is 1"):
        read_points(write(tmp_path / "a.csv", long))


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("image_name,label,x,y", "A.png,a,1,2", "B.png,a,3,4"),
        ("scan,label,x,y", "A.png,a,1,2", "B.png,a,3,4"),
        ("n,Image Name,a_x,a_y", "1,A.png,1,2", "2,B.png,3,4"),
        ("n,scan,a_x,a_y", "1,A.png,1,2", "2,B.png,3,4"),
    ],
)
def test_columns_of_images(tmp_path, header, first, second):
    sets = read_point_sets(write(tmp_path / "a.csv", f"{header}\n{first}\n{second}\n"))
    assert [points.image for points in sets] == ["A.png", "B.png"]


@pytest.mark.parametrize("names", ["width,height", "image_width,image_height"])
def test_columns_of_the_size_of_images(tmp_path, names):
    wide = f"image,a_x,a_y,{names}\n1.png,1,2,80,60\n"
    assert read_points(write(tmp_path / "a.csv", wide)).image_size == (80, 60)
    long = f"image,label,x,y,{names}\n1.png,a,1,2,80,60\n"
    assert read_points(write(tmp_path / "a.csv", long)).image_size == (80, 60)
    with pytest.raises(ValueError, match="must be the size of the image .* wide, 60"):
        read_points(write(tmp_path / "a.csv", long.replace("80", "wide")))


# --- JSON of this package ---


def test_visibility_and_size_in_json(tmp_path):
    points = [
        {"label": "a", "position": [1, 2], "visible": True},
        {"label": "b", "position": [0, 0], "visibility": 0},
        {"label": "c", "position": None, "missing": 1},
    ]
    data = {"points": points, "width": 80, "height": 60}
    found = read_points(write(tmp_path / "a.json", data))
    np.testing.assert_array_equal(found.points, [[1, 2], [NAN, NAN], [NAN, NAN]])
    assert found.image_size == (80, 60)
    points[0]["visible"] = False
    with pytest.raises(ValueError, match="'a' must be empty where 'visible' is False"):
        read_points(write(tmp_path / "a.json", data))


def test_fields_of_json_that_are_not_read(tmp_path):
    data = {"points": [{"label": "a", "position": [1, 2], "score": 1}], "spacing": [1]}
    with pytest.warns(
        UserWarning, match="fields that are not read: 'spacing', 'score'"
    ):
        read_points(write(tmp_path / "a.json", data))


def test_flags_of_labelme(tmp_path):
    shape = {"label": "a", "shape_type": "point", "points": [[1, 2]]}
    flags = {"occluded": True, "other": False}
    path = labelme(tmp_path / "a.json", {**shape, "flags": flags})
    with pytest.warns(UserWarning, match="flags of points are not read: 'occluded'. A"):
        read_points(path)


def test_json_that_python_cannot_read(tmp_path):
    for text in ('{"points": ' + "[" * 100_000, '{"points": [' + "9" * 5000 + "]}"):
        with pytest.raises(ValueError, match="a.json"):
            read_points(write(tmp_path / "a.json", text))
