"""Points of other programs. Expected values follow from the rules of each format."""

import json

import numpy as np
import pytest

from scn_keras.files import (
    read_image_header,
    read_point_sets,
    read_points,
    unread_formats,
    write_points,
)
from scn_keras.files.read_points import is_points_file, load_point_sets

NAN = float("nan")


def write(path, data):
    text = data if isinstance(data, str) else json.dumps(data, indent=1)
    path.write_text(text, encoding="utf-8")
    return path


def assert_points(found, labels, points, image=""):
    assert (found.labels, found.image, found.space) == (labels, image, "pixels")
    np.testing.assert_allclose(found.points, points, rtol=1e-12)


@pytest.fixture
def film(tmp_path):
    """A film of 60 rows and 80 columns."""
    from PIL import Image

    Image.new("L", (80, 60)).save(tmp_path / "film.png")
    return read_image_header(tmp_path / "film.png")


# --- TPS ---


def test_tps_counts_y_from_below(tmp_path, film):
    text = (
        "LM=3\n10 40\n12.5 20\n-1 -1\nIMAGE=f1.jpg\nID=7\n\n"
        "lm=3\n1 2\n3 4\nNA NA\nID=2\n"
    )
    first, second = read_point_sets(write(tmp_path / "a.TPS", text))
    assert (first.image, second.image) == ("f1.jpg", "2")
    assert first.numbered and first.from_below
    assert first.attributes == {"ID": "7"}
    # y from above is the height, 60, less y.
    expected = [[10, 20], [12.5, 40], [NAN, NAN]]
    assert_points(first.to_pixels(film), ("1", "2", "3"), expected, "f1.jpg")
    np.testing.assert_array_equal(
        second.to_pixels(film).points, [[1, 58], [3, 56], [NAN, NAN]]
    )
    with pytest.raises(ValueError, match="need the `ImageHeader`"):
        first.to_pixels(np.eye(3))
    with pytest.raises(ValueError, match="must count y from above"):
        write_points(tmp_path / "b.csv", first)


def test_scale_and_curves_of_tps_are_named(tmp_path):
    text = (
        "LM=1\n10 40\nCURVES=1\nPOINTS=2\n1 2\n3 4\nIMAGE=a.jpg\nSCALE=0.01\n"
        "COMMENT=left wing\n"
    )
    (found,) = load_point_sets(write(tmp_path / "a.tps", text))
    assert found.labels == ("1",)
    assert found.shapes == (("curve 1", "curve of 2 points"),)
    assert "SCALE is not used" in found.notes[0] and "SCALE=0.01" in found.notes[0]


def test_tps_of_volumes(tmp_path):
    found = read_points(write(tmp_path / "a.tps", "LM3=1\n1 2 3\nID=a\n"))
    assert not found.from_below
    np.testing.assert_array_equal(found.points, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LM=2\n1 2\nIMAGE=a\n", "line 3: 1 rows of coordinates are missing"),
        ("LM=2\n1 2\n", "line 1: 1 rows of coordinates are missing"),
        ("LM=1\n1 2\n3 4\n", "line 3: there must be 1 landmarks"),
        ("1 2\n", "line 1: a TPS file must begin with LM="),
        ("LM=x\n", "line 1: LM must be a number of points"),
        ("LM=1\n1 a\n", "line 2: landmark 1 must have 2 finite numbers"),
        ("LM=1\n1 2\nFOO=3\n", "line 3: FOO is no entry of a TPS file"),
    ],
)
def test_tps_that_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.tps, {message}"):
        read_point_sets(write(tmp_path / "a.tps", text))


# --- PTS ---


def test_pts_counts_from_one(tmp_path):
    text = "version: 1\nn_points:  2\n{\n1 1\n30.5 40\n}\n"
    found = read_points(write(tmp_path / "a.pts", text))
    assert_points(found, ("1", "2"), [[0, 0], [29.5, 39]])
    assert found.numbered


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nn_points: 3\n{\n1 2\n}\n", "n_points=3 and 1 points"),
        ("version: 1\nn_points: 1\n{\n1 2\n", "1 points without }"),
        ("version: 2\n", "line 1: the version .* must be 1"),
        ("version: 1\nn_points: 1\n{\n1 2 3\n}\n", "line 4: point 1 must have 2"),
        ("12 13\n", "line 1 must be `version: 1`"),
    ],
)
def test_pts_that_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.pts.*{message}"):
        read_points(write(tmp_path / "a.pts", text))


# --- napari ---


def test_axes_of_napari_are_those_of_arrays(tmp_path):
    text = "index,axis-0,axis-1\n0.0,20.0,10.0\n1.0,40.0,30.5\n"
    found = read_points(write(tmp_path / "a.csv", text))
    assert_points(found, ("1", "2"), [[10, 20], [30.5, 40]])
    assert found.numbered
    text = "index,axis-0,axis-1,axis-2,label\n0,3,20,10,sella\n1,4,40,30,nasion\n"
    found = read_points(write(tmp_path / "a.csv", text))
    assert_points(found, ("sella", "nasion"), [[10, 20, 3], [30, 40, 4]])
    assert not found.numbered


def test_napari_that_is_refused(tmp_path):
    text = "index,axis-0,axis-1,axis-2,axis-3\n0,1,2,3,4\n"
    with pytest.raises(ValueError, match="a.csv, line 1: a table of napari must have"):
        read_points(write(tmp_path / "a.csv", text))


# --- ImageJ ---


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv", "a.xls"])
def test_results_of_imagej(tmp_path, name):
    text = " ,Area,Mean,X,Y,Slice\n1,0,120,10,20,1\n2,0,130,30.5,40,1\n"
    if name != "a.csv":
        text = text.replace(",", "\t")
    found = read_points(write(tmp_path / name, text))
    assert_points(found, ("1", "2"), [[10, 20], [30.5, 40]])
    assert found.numbered and found.notes == ()


def test_results_of_imagej_of_several_images(tmp_path):
    text = (
        " ,Label,X,Y\n1,f1.png,10,20\n2,f1.png,30,40\n3,f2.tif:0001-0023,1,2\n"
        "4,f2.tif:0001-0024,3,4\n"
    )
    first, second = read_point_sets(write(tmp_path / "a.csv", text))
    assert_points(first, ("1", "2"), [[10, 20], [30, 40]], "f1.png")
    assert_points(second, ("1", "2"), [[1, 2], [3, 4]], "f2.tif")
    # Without numbers of rows.
    text = "Label,X,Y\nf1.png,10,20\nf2.png,30,40\n"
    first, second = read_point_sets(write(tmp_path / "a.csv", text))
    assert (first.image, second.image) == ("f1.png", "f2.png")


def test_regions_of_imagej_name_points(tmp_path):
    text = (
        " ,Label,X,Y\n1,f1.tif:sella,10,20\n2,f1.tif:nasion,30,40\n"
        "3,f2.tif:0001-0007-0009,1,2\n4,f2.tif:0001-0008-0010,3,4\n"
    )
    first, second = read_point_sets(write(tmp_path / "a.csv", text))
    assert_points(first, ("sella", "nasion"), [[10, 20], [30, 40]], "f1.tif")
    assert (second.labels, second.numbered) == (("1", "2"), True)


def test_slices_of_imagej_are_z(tmp_path):
    text = " ,X,Y,Slice\n1,10,20,1\n2,30,40,7\n"
    found = read_points(write(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(found.points, [[10, 20, 0], [30, 40, 6]])


def test_own_tables_are_no_results_of_imagej(tmp_path):
    for text in (
        "label,X,Y\nsella,10,20\nnasion,30,40\n",
        ",label,X,Y\n0,sella,10,20\n1,nasion,30,40\n",  # of pandas
        ",Label,X,Y\n0,sella,10,20\n1,nasion,30,40\n",
        "image,label,X,Y,Area\n,sella,10,20,1\n,nasion,30,40,1\n".replace(
            "image,", ""
        ).replace("\n,", "\n"),
    ):
        found = read_points(write(tmp_path / "a.csv", text))
        assert_points(found, ("sella", "nasion"), [[10, 20], [30, 40]])


# --- DeepLabCut ---

DLC = """scorer,Me,Me,Me,Me
bodyparts,snout,snout,tail,tail
coords,x,y,x,y
"""


def test_deeplabcut(tmp_path):
    text = (
        f"{DLC}labeled-data/v/img01.png,10,20,30,40\nlabeled-data/v/img02.png,1,2,,\n"
    )
    first, second = read_point_sets(write(tmp_path / "CollectedData_Me.csv", text))
    names = ("snout", "tail")
    assert_points(first, names, [[10, 20], [30, 40]], "labeled-data/v/img01.png")
    assert_points(second, names, [[1, 2], [NAN, NAN]], "labeled-data/v/img02.png")


def test_deeplabcut_with_three_columns_of_the_path(tmp_path):
    text = (
        "scorer,,,Me,Me\nbodyparts,,,snout,snout\ncoords,,,x,y\n"
        "labeled-data,v,img01.png,10,20\n"
    )
    found = read_points(write(tmp_path / "a.csv", text))
    assert_points(found, ("snout",), [[10, 20]], "labeled-data/v/img01.png")


def test_likelihood_of_deeplabcut_is_named(tmp_path):
    text = (
        "scorer,N,N,N\nbodyparts,snout,snout,snout\ncoords,x,y,likelihood\n"
        "0,10,20,0.1\n"
    )
    with pytest.warns(UserWarning, match="the likelihood of points is not read"):
        found = read_points(write(tmp_path / "a.csv", text))
    assert_points(found, ("snout",), [[10, 20]], "0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "scorer,Me,Me\nindividuals,one,one\nbodyparts,a,a\ncoords,x,y\nf.png,1,2\n",
            "several animals",
        ),
        ("scorer,Me,You\nbodyparts,a,a\ncoords,x,y\nf.png,1,2\n", "one scorer"),
        ("scorer,Me,Me\nbodyparts,a,b\ncoords,x,y\nf.png,1,2\n", "'a' must have the"),
        ("scorer,Me,Me\nbodyparts,a,a\nf.png,1,2\n", "the rows scorer, bodyparts and"),
        (f"{DLC}f.png,1,x,3,4\n", "line 4: the position of 'snout' must have 2"),
        (f"{DLC}f.png,1,2,3\n", "line 4 must have 5 columns"),
    ],
)
def test_deeplabcut_that_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.csv.*{message}"):
        read_point_sets(write(tmp_path / "a.csv", text))


# --- CVAT ---


def cvat(path, *elements, **image):
    attributes = " ".join(
        f'{k}="{v}"'
        for k, v in {"name": "a.png", "width": 80, "height": 60, **image}.items()
    )
    return write(
        path,
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f'<image id="0" {attributes}>{"".join(elements)}</image></annotations>',
    )


def test_cvat(tmp_path):
    path = cvat(
        tmp_path / "a.xml",
        '<points label="a" occluded="1" points="10.5,20.50"></points>',
        '<skeleton label="hip"><points label="b" outside="0" points="30,40"/>'
        '<points label="c" outside="1" points="1,2"/></skeleton>',
        '<points label="d" points="1,2;3,4"/>',
    )
    found = read_points(path)
    # The edge of the first pixel is at 0 in CVAT.
    expected = [[10, 20], [29.5, 39.5], [NAN, NAN], [0.5, 1.5], [2.5, 3.5]]
    assert_points(found, ("a", "b", "c", "d 1", "d 2"), expected, "a.png")
    assert found.image_size == (80, 60)


def test_boxes_of_cvat_are_no_points(tmp_path):
    path = cvat(tmp_path / "a.xml", '<box label="a" xtl="1" ytl="2" xbr="3" ybr="4"/>')
    assert load_point_sets(path)[0].shapes == (("a", "box"),)
    with pytest.raises(ValueError, match="no points of a.png. .* 'a' .box"):
        read_point_sets(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations><track/></annotations>", "has tracks of a video"),
        ("<annotation><object/></annotation>", "Received: <annotation>"),
        ("<annotations>", "is not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "which has no <!DOCTYPE>"),
    ],
)
def test_xml_that_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"a.xml.*{message}"):
        read_point_sets(write(tmp_path / "a.xml", text))


@pytest.mark.parametrize(
    ("element", "image", "message"),
    [
        ('<points label="a" outside="2" points="1,2"/>', {}, "outside must be 0 or 1"),
        ('<points label="" points="1,2"/>', {}, "a point has no label"),
        ('<points label="a" points="1"/>', {}, "'a' must have 2 finite numbers"),
        ('<blob label="a"/>', {}, "Received: <blob>"),
        ("", {"width": "x"}, "width and height must be"),
    ],
)
def test_images_of_cvat_that_are_refused(tmp_path, element, image, message):
    with pytest.raises(ValueError, match=f"a.xml, image 'a.png'.*{message}"):
        read_point_sets(cvat(tmp_path / "a.xml", element, **image))


# --- Label Studio ---


def region(label="a", x=12.5, y=25.0, kind="keypointlabels", **outer):
    value = {"x": x, "y": y, "width": 0.3, kind: [label]}
    size = {"original_width": 80, "original_height": 60, "image_rotation": 0}
    return {"type": kind, **size, "value": value, **outer}


def task(*regions, image="/data/upload/1/1a2b3c4d-f1.png", **outer):
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [{"result": [*regions], "was_cancelled": False}],
        **outer,
    }


def test_label_studio_is_in_percent(tmp_path):
    path = write(tmp_path / "a.json", [task(region(), region("b", 50.0, 100.0))])
    found = read_points(path)
    # 12.5 % of 80 and 25 % of 60, from the edge of the first pixel.
    assert_points(found, ("a", "b"), [[9.5, 14.5], [39.5, 59.5]], "f1.png")
    assert found.image_size == (80, 60)


def test_minimal_form_of_label_studio(tmp_path):
    size = {"original_width": 80, "original_height": 60}
    point = {"x": 12.5, "y": 25.0, "width": 0.3, "keypointlabels": ["a"], **size}
    path = write(tmp_path / "a.json", [{"image": "/data/upload/f1.png", "kp": [point]}])
    assert_points(read_points(path), ("a",), [[9.5, 14.5]], "f1.png")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("/data/upload/1/1a2b3c4d-f1.png", "f1.png"),
        ("/data/local-files/?d=films/M%C3%BCller.png", "Müller.png"),
        ("s3://bucket/films/1a2b3c4d-f1.png", "1a2b3c4d-f1.png"),
        ("https://example.org/f%201.png?token=a.b", "f 1.png"),
    ],
)
def test_names_of_images_of_label_studio(tmp_path, image, expected):
    path = write(tmp_path / "a.json", [task(region(), image=image)])
    assert read_points(path).image == expected


def test_task_without_annotation(tmp_path):
    cancelled = [{"result": [region()], "was_cancelled": True}]
    path = write(tmp_path / "a.json", [task(annotations=cancelled)])
    assert read_points(path).labels == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            task(annotations=[{"result": [region()]}] * 2),
            "a task must have one annotation",
        ),
        (task(region(image_rotation=90)), "no image_rotation.*=90"),
        (task(region(original_width=None)), "'original_width' and"),
        (task(region(), region("b", original_width=90)), "one original_width"),
        (task(region(x=None, y=None)), "'a' must have x and y"),
        ({"id": 3}, "must be an export of Label Studio"),
    ],
)
def test_label_studio_that_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"a.json.*{message}"):
        read_point_sets(write(tmp_path / "a.json", [content]))


def test_boxes_of_label_studio_are_no_points(tmp_path):
    path = write(tmp_path / "a.json", [task(region(kind="rectanglelabels"))])
    assert load_point_sets(path)[0].shapes == (("a", "rectanglelabels"),)


# --- VIA ---


def via_region(label="a", x=10, y=20, **attributes):
    shape = {"name": "point", "cx": x, "cy": y}
    return {
        "shape_attributes": shape,
        "region_attributes": attributes or {"name": label},
    }


def via(*regions):
    return {"f1.png123": {"filename": "f1.png", "size": 123, "regions": [*regions]}}


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_json_of_via(tmp_path, project, version):
    data = via(via_region(), via_region("b", 30, 40))
    if version == 1:
        regions = data["f1.png123"]["regions"]
        data["f1.png123"]["regions"] = {str(n): r for n, r in enumerate(regions)}
    if project:
        data = {"_via_settings": {}, "_via_img_metadata": data}
    found = read_points(write(tmp_path / "a.json", data))
    assert_points(found, ("a", "b"), [[9.5, 19.5], [29.5, 39.5]], "f1.png")


def test_csv_of_via(tmp_path):
    text = (
        "filename,file_size,file_attributes,region_count,region_id,"
        "region_shape_attributes,region_attributes\n"
        'f1.png,1,"{}",1,0,"{""name"":""point"",""cx"":10,""cy"":20}",'
        '"{""name"":""a""}"\nf2.png,1,"{}",0,0,"{}","{}"\n'
    )
    first, second = read_point_sets(write(tmp_path / "a.csv", text))
    assert_points(first, ("a",), [[9.5, 19.5]], "f1.png")
    assert (second.labels, second.image) == ((), "f2.png")


@pytest.mark.parametrize(
    "attributes",
    [
        {"landmark": "a"},
        {"name": "a", "side": "left"},
        {"type": {"a": True, "b": False}},
    ],
)
def test_labels_of_via(tmp_path, attributes):
    path = write(tmp_path / "a.json", via(via_region(**attributes)))
    assert read_points(path).labels == ("a",)


def test_via_that_is_refused(tmp_path):
    path = write(tmp_path / "a.json", via(via_region(side="left", quality="good")))
    with pytest.raises(ValueError, match="line .*: the point must have a name"):
        read_points(path)
    box = via_region()
    box["shape_attributes"] = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
    path = write(tmp_path / "a.json", via(box))
    with pytest.raises(ValueError, match="no points of f1.png. .*'a' .rect"):
        read_points(path)


# --- Recognised and not read ---


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scene.mrml", "It is a scene of 3D Slicer. Save its point lists"),
        ("scene.mrb", "It is a scene of 3D Slicer"),
        ("LinearTransform.tfm", "transform of ITK. Harden it on the points"),
        ("F.acsv", "annotation of 3D Slicer 4"),
        ("a.roi", "a region of ImageJ. Measure its points"),
        ("a.ods", "spreadsheet of LibreOffice. Save the table as"),
        ("CollectedData_Me.h5", "DeepLabCut. Use the CSV file of the same name"),
        ("a.xls", "old versions of Excel"),
    ],
)
def test_formats_that_are_named(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0 something")
    with pytest.raises(ValueError, match=f"{name} is not read. .*{message}"):
        read_point_sets(tmp_path / name)


def test_regions_of_imagej_in_an_archive(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        archive.writestr("0001-0010-0020.roi", b"Iout")
    with pytest.raises(ValueError, match="RoiSet.zip is not read. It is a set of"):
        read_point_sets(tmp_path / "RoiSet.zip")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.json",
            {"Modality": "CT", "Manufacturer": "X", "SliceThickness": 1},
            "It has the parameters of a scan",
        ),
        ("a.xml", "<dataset><images><part name='1'/></images></dataset>", "of dlib"),
        ("a.xml", "<annotation><object/></annotation>", "of Pascal VOC"),
    ],
)
def test_texts_that_are_named(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    assert message in unread_formats.advice_for(path)
    assert not is_points_file(path)


# --- Patients and splits ---


@pytest.mark.parametrize("kind", ["coco", "cvat", "label_studio", "via"])
def test_fields_of_images_are_attributes(tmp_path, kind):
    if kind == "cvat":
        path = cvat(
            tmp_path / "a.xml", '<points label="a" points="1,2"/>', subset="Train"
        )
        expected = {"subset": "Train"}
    else:
        image = {"id": 1, "file_name": "f1.png", "license": 3, "patient": "p1"}
        annotation = {"image_id": 1, "category_id": 1, "keypoints": [1, 2, 2]}
        path = write(
            tmp_path / "a.json",
            {
                "coco": {
                    "images": [image],
                    "categories": [{"id": 1, "name": "a", "keypoints": ["a"]}],
                    "annotations": [annotation],
                },
                "label_studio": [
                    task(region(), data={"image": "f.png", "patient": "p1"})
                ],
                "via": {"x": {**via(via_region())["f1.png123"]}},
            }[kind],
        )
        if kind == "via":
            data = json.loads(path.read_text())
            data["x"]["file_attributes"] = {"patient": "p1"}
            write(path, data)
        expected = {"patient": "p1"}
    assert read_points(path).attributes == expected


def test_predictions_of_label_studio_are_named(tmp_path):
    content = [task(annotations=[], predictions=[{"result": [region()]}])]
    with pytest.warns(UserWarning, match="predictions of Label Studio are not read"):
        read_points(write(tmp_path / "a.json", content))
