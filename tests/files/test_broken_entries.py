"""Files of points with seven broken entries: all of them are named at once."""

import json
import re

import numpy as np
import pytest

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.read_points import load_point_sets, read_point_sets

# Image, landmark and what stands there instead of x; six images of four landmarks.
BROKEN = [
    (0, "b", "x0"),
    (1, "a", "x1"),
    (1, "d", "x2"),
    (3, "c", "x3"),
    (4, "a", "x4"),
    (4, "b", "x5"),
    (4, "d", "x6"),
]
NAMES = "abcd"
WRONG = {(image, name): text for image, name, text in BROKEN}


def x_of(image, name):
    return WRONG.get((image, name), 10 + image + NAMES.index(name))


def wide(separator=","):
    rows = [["image", *(f"{n}_{axis}" for n in NAMES for axis in "xy")]]
    for image in range(6):
        rows.append([f"{image}.png", *(v for n in NAMES for v in (x_of(image, n), 7))])
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def long():
    rows = [f"{i}.png,{n},{x_of(i, n)},7\n" for i in range(6) for n in NAMES]
    return "image,label,x,y\n" + "".join(rows)


def deeplabcut():
    rows = [
        ["scorer", *["me"] * 8],
        ["bodyparts", *(n for n in NAMES for _ in "xy")],
        ["coords", *"xyxyxyxy"],
    ]
    for image in range(6):
        rows.append([f"{image}.png", *(v for n in NAMES for v in (x_of(image, n), 7))])
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def imagej():
    rows = [f"{i}.png:{n},3,{x_of(i, n)},7\n" for i in range(6) for n in NAMES]
    return "Label,Area,X,Y\n" + "".join(rows)


def tps():
    return "".join(
        "LM=4\n" + "".join(f"{x_of(i, n)} 7\n" for n in NAMES) + f"IMAGE={i}.png\n"
        for i in range(6)
    )


def own_json():
    images = [
        {
            "image": f"{i}.png",
            "points": [{"label": n, "position": [x_of(i, n), 7]} for n in NAMES],
        }
        for i in range(6)
    ]
    return json.dumps({"images": images}, indent=1)


def coco():
    content = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(6)],
        "categories": [{"id": 1, "name": "head", "keypoints": [*NAMES]}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "keypoints": [v for n in NAMES for v in (x_of(i, n), 7, 2)],
            }
            for i in range(6)
        ],
    }
    return json.dumps(content, indent=1)


def label_studio():
    tasks = [
        {
            "data": {"image": f"/data/{i}.png"},
            "annotations": [
                {
                    "result": [
                        {
                            "type": "keypointlabels",
                            "original_width": 100,
                            "original_height": 50,
                            "value": {"x": x_of(i, n), "y": 7, "keypointlabels": [n]},
                        }
                        for n in NAMES
                    ]
                }
            ],
        }
        for i in range(6)
    ]
    return json.dumps(tasks, indent=1)


def via_regions(image):
    return [
        {
            "shape_attributes": {"name": "point", "cx": x_of(image, n), "cy": 7},
            "region_attributes": {"name": n},
        }
        for n in NAMES
    ]


def via():
    images = {
        str(i): {"filename": f"{i}.png", "size": -1, "regions": via_regions(i)}
        for i in range(6)
    }
    return json.dumps(images, indent=1)


def via_table():
    rows = ["filename,region_shape_attributes,region_attributes\n"]
    for image in range(6):
        for region in via_regions(image):
            texts = [json.dumps(v).replace('"', '""') for v in region.values()]
            rows.append(f'{image}.png,"{texts[0]}","{texts[1]}"\n')
    return "".join(rows)


def cvat():
    images = "".join(
        f'<image id="{i}" name="{i}.png">'
        + "".join(f'<points label="{n}" points="{x_of(i, n)},7"/>' for n in NAMES)
        + "</image>"
        for i in range(6)
    )
    return f"<annotations>{images}</annotations>"


SEVERAL = {
    "wide.csv": wide(),
    "wide.tsv": wide("\t"),
    "long.csv": long(),
    "deeplabcut.csv": deeplabcut(),
    "imagej.csv": imagej(),
    "images.tps": tps(),
    "own.json": own_json(),
    "coco.json": coco(),
    "studio.json": label_studio(),
    "via.json": via(),
    "via.csv": via_table(),
    "cvat.xml": cvat(),
}


def found_in(path):
    problems = PointProblems()
    sets = load_point_sets(path, None, problems)
    return sets, problems


@pytest.mark.parametrize("name", SEVERAL)
def test_all_broken_entries_are_named_with_their_images(tmp_path, name):
    path = tmp_path / name
    path.write_text(SEVERAL[name])
    sets, problems = found_in(path)
    assert len(problems.found) == len(BROKEN)
    numbered = name.endswith(".tps")
    for (image, label, text), problem in zip(BROKEN, problems.found, strict=True):
        assert problem.texts == (f"{image}.png",)
        assert str(path) in problem.problem
        assert "line" in problem.problem or "image" in problem.problem
        assert re.search(rf"Received: .*{text}", problem.problem)
        what = f"landmark {NAMES.index(label) + 1}" if numbered else repr(label)
        assert what in problem.problem or name == "imagej.csv"
    # The points of the other images are as written.
    good = {points.image: points for points in sets if points.image in ("2.png",)}
    offset = {"studio.json": -0.5, "via.json": -0.5, "via.csv": -0.5, "cvat.xml": -0.5}
    expected = np.array([12.0, 13.0, 14.0, 15.0]) + offset.get(name, 0.0)
    np.testing.assert_allclose(good["2.png"].points[:, 0], expected)
    # Without a collection, one error names all of them.
    with pytest.raises(ValueError, match="has 7 entries that cannot be read") as caught:
        read_point_sets(path)
    assert all(text in str(caught.value) for _, _, text in BROKEN)


def test_columns_of_tables_are_named(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(wide())
    _, problems = found_in(path)
    assert problems.found[2].problem == (
        f"{path}, line 3: the position of 'd' must have 2 finite numbers. "
        "Received: d_x='x2', d_y='7'"
    )


def test_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in wide().splitlines():
        texts = line.split(",")
        book.active.append([float(t) if t.isdecimal() else t for t in texts])
    book.save(tmp_path / "a.xlsx")
    _, problems = found_in(tmp_path / "a.xlsx")
    assert [p.texts for p in problems.found] == [(f"{i}.png",) for i, _, _ in BROKEN]
    assert "line 3: the position of 'd'" in problems.found[2].problem


def markups():
    points = [
        {"label": str(n), "position": [f"x{n}" if n < 7 else 1.0, 2.0, 3.0]}
        for n in range(9)
    ]
    return json.dumps({"markups": [{"type": "Fiducial", "controlPoints": points}]})


def labelme():
    shapes = [
        {"label": str(n), "shape_type": "point", "points": [[f"x{n}", 2.0]]}
        for n in range(7)
    ]
    return json.dumps({"imagePath": "0.png", "shapes": shapes})


SINGLE = {
    "0.fcsv": "".join(f"{n},x{n},2,3,0,0,0,1,1,1,0,{n},,\n" for n in range(7)),
    "0.pts": "version: 1\nn_points: 7\n{\n"
    + "".join(f"x{n} 2\n" for n in range(7))
    + "}\n",
    "0.csv": "index,axis-0,axis-1\n" + "".join(f"{n},2,x{n}\n" for n in range(7)),
    "0.mrk.json": markups(),
    "0.json": labelme(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_all_broken_entries_of_a_file_of_one_image(tmp_path, name):
    path = tmp_path / name
    path.write_text(SINGLE[name])
    _, problems = found_in(path)
    assert len(problems.found) == 7
    for n, problem in enumerate(problems.found):
        assert problem.texts == ()
        assert str(path) in problem.problem
        assert f"x{n}" in problem.problem


def test_rows_and_cells_are_named_together(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("image,a_x,a_y\n0,left,1\n1,2\n2,3,4\n2,3,4\n,5,6\n3,4,right\n")
    sets, problems = found_in(path)
    lines = [int(re.search(r"line (\d+)", p.problem)[1]) for p in problems.found]
    assert sorted(lines) == [2, 3, 5, 6, 7]
    assert [p.texts[0] for p in problems.found if "line 3" in p.problem] == ["1"]
    np.testing.assert_array_equal(
        next(s for s in sets if s.image == "2").points, [[3, 4]]
    )


@pytest.mark.parametrize(
    ("usual", "other", "remark"),
    [("5.5", "6,5", "a decimal comma"), ("5,5", "6.5", "a decimal point")],
)
def test_numbers_in_the_less_frequent_format_are_broken(tmp_path, usual, other, remark):
    path = tmp_path / "a.csv"
    rows = [[usual, other if n in (2, 5) else usual] for n in range(8)]
    rows = [";".join([f"{n}.png", *row]) for n, row in enumerate(rows)]
    path.write_text("image;a_x;a_y\n" + "\n".join(rows))
    sets, problems = found_in(path)
    assert [p.texts for p in problems.found] == [("2.png",), ("5.png",)]
    assert all(f"{other} ({remark}" in p.problem for p in problems.found)
    np.testing.assert_array_equal(sets[0].points, [[5.5, 5.5]])


def test_many_broken_entries_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,x,y\n" + "".join(f"p{n},left,{n}\n" for n in range(150)))
    _, problems = found_in(path)
    assert len(problems.found) == 150
    sentences = problems.sentences(path)
    assert len(sentences) == 101
    assert "50 more entries" in sentences[-1]
    with pytest.raises(ValueError, match=f"{path} has 150 entries") as caught:
        read_point_sets(path)
    shown = str(caught.value).count("the position of")
    assert shown > 15
    assert f"... and {150 - shown} more" in str(caught.value)


def test_decimal_commas_between_commas_are_one_problem(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("image,a_x,a_y\n" + "".join(f"{n},1,5,2,5\n" for n in range(9)))
    with pytest.raises(ValueError, match="semicolons") as caught:
        load_point_sets(path, None, PointProblems())
    assert str(caught.value).startswith(f"{path}: 9 of 9 rows must have 3 columns")
    assert str(caught.value).endswith("Received: 5 columns on line 2")
