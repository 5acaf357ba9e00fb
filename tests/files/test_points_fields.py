"""Fields of files of points: each is used, converted or refused, never dropped."""

import json

import numpy as np
import pytest

from scn_keras.files import read_point_sets, read_points

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
        ("preview", [1, 2, 3]),
        ("edit", [1, 2, 3]),
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
    found = read_points(write(tmp_path / "a.fcsv", text))
    np.testing.assert_array_equal(found.points, [expected])


@pytest.mark.parametrize("status", ["1", "preview"])
def test_fcsv_with_a_column_of_the_status(tmp_path, status):
    header = FCSV_HEADER.strip() + ",positionStatus\n"
    text = f"# CoordinateSystem = LPS\n{header}1,1,2,3,0,0,0,1,1,1,0,a,,,{status}\n"
    found = read_points(write(tmp_path / "a.fcsv", text))
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


def test_hidden_locked_and_unselected_points_are_points(tmp_path):
    point = {"label": "a", "position": [1, 2, 3], "visibility": False, "locked": True}
    path = markups(tmp_path / "a.mrk.json", {**point, "selected": False})
    np.testing.assert_array_equal(read_points(path).points, [[1, 2, 3]])
    text = f"# CoordinateSystem = LPS\n{FCSV_HEADER}1,1,2,3,0,0,0,1,0,0,1,a,,,2,0\n"
    path = write(tmp_path / "a.fcsv", text)
    np.testing.assert_array_equal(read_points(path).points, [[1, 2, 3]])


@pytest.mark.parametrize("kind", ["Line", "Angle", "Curve", "ClosedCurve", "Plane"])
def test_labelled_control_points_of_other_markups_are_landmarks(tmp_path, kind):
    point = {"label": "L-1", "position": [1, 2, 3]}
    fiducial = {"controlPoints": [{"label": "a", "position": [4, 5, 6]}]}
    path = tmp_path / "a.mrk.json"
    write(path, {"markups": [fiducial, {"type": kind, "controlPoints": [point]}]})
    found = read_points(path)
    assert found.labels == ("a", "L-1")
    np.testing.assert_array_equal(found.points, [[4, 5, 6], [1, 2, 3]])


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
        ({"label": ""}, {"type": "Curve"}, "control point 1 of the Curve has no label"),
        ({}, {"coordinateUnits": "cm"}, "`coordinateUnits` must be mm.* 'cm'"),
        ({}, {"coordinateUnits": ["mm", "mm", "cm"]}, "`coordinateUnits` must be mm"),
        ({}, {"coordinateUnits": ""}, "`coordinateUnits` must be mm. Received: ''"),
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
