"""Tables as spreadsheets of different countries and programs write them."""

import codecs

import numpy as np
import pytest

from scn_keras.files import read_point_sets, read_points

NAN = float("nan")
PLAIN = "image,Öhr_x,Öhr_y,b_x,b_y\nMüller.png,1234.5,20,,\n"


def read(path):
    (found,) = read_point_sets(path)
    assert (found.image, found.labels) == ("Müller.png", ("Öhr", "b"))
    np.testing.assert_array_equal(found.points, [[1234.5, 20], [NAN, NAN]])
    return found


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-16-le"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        b"sep=,\r" + PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", "\t").encode("utf-16"),
        PLAIN.replace(",", "|").encode(),
        b"sep=,\r\n" + PLAIN.encode(),
        b"sep=;\n" + PLAIN.replace(",", ";").encode(),
        b"sep=\t\n" + PLAIN.replace(",", "\t").encode(),
        b'"sep=;"\n' + PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", ";").replace("1234.5", "1234,5").encode(),
        PLAIN.replace(",", ";").replace("1234.5", "1.234,5").encode(),
        PLAIN.replace(",", "\t").replace("1234.5", "1234,50").encode(),
        PLAIN.replace("1234.5", '"1,234.5"').encode(),
        PLAIN.replace("1234.5", '"1234,5"').encode(),
        PLAIN.replace("1234.5", "1'234.5").encode(),
        PLAIN.replace(",", ";").replace("1234.5", "1\u202f234,5").encode(),
        PLAIN.replace(",", ";").replace("1234.5", "1\u00a0234,5").encode(),
        PLAIN.replace("\n", ",,\n").encode(),
        (PLAIN + ",,,,\n\n").encode(),
        ("\n" + PLAIN).encode(),
    ],
)
def test_forms_of_one_table(tmp_path, data):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    read(path)


def test_windows_1252_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(PLAIN.encode("cp1252"))
    with pytest.warns(UserWarning, match="a.csv is not in UTF-8 and is read as Wind"):
        read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A table has one format, also where one number alone could be of another.
        ("label;x;y\na;1,5;2,125\n", [1.5, 2.125]),
        ("label;x;y\na;123,456;1,125\n", [123.456, 1.125]),
        ("label\tx\ty\na\t0,125\t1,125\n", [0.125, 1.125]),
        ("label\tx\ty\na\t1,234\t1,234,567\n", [1234, 1234567]),
        ("label;x;y\na;1.234;1,5\n", [1234, 1.5]),
        ("label;x;y\na;1.234;1.5\n", [1.234, 1.5]),
        ("label,x,y\na,\u22121.5,2e-1\n", [-1.5, 0.2]),
        ("label,x (mm),y [mm]\na,1,2\n", [1, 2]),
        ("label,x [px],y (pixels)\na,1,2\n", [1, 2]),
    ],
)
def test_numbers(tmp_path, text, expected):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    found = read_points(tmp_path / "a.csv")
    np.testing.assert_array_equal(found.points, [expected])
    assert found.space == ("LPS" if "mm" in text else "pixels")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "label\tx\ty\na\t1,234\t5\n",
            "line 2: .*the comma may be a decimal comma or",
        ),
        ('label,x,y\na,"1,234",5\n', "line 2: .* Received: x='1,234 .the comma may be"),
        (
            'label,x,y\na,"1,5","1,234.5"\n',
            "line 2: .*1,234.5 .a decimal point; other numbers",
        ),
        ("label;x;y\na;1,5;2.5\n", "line 2: the position of 'a' must have 2 finite"),
        ("label,x,y\na,1,5,2\n", "line 2 must have 3 columns like the header. .* 4"),
        ("label;x;y\na;1\n", "line 2 must have 3 columns like the header. .* 2"),
    ],
)
def test_numbers_that_are_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.csv, {message}"):
        read_points(tmp_path / "a.csv")


# --- Excel ---


@pytest.fixture
def workbook():
    openpyxl = pytest.importorskip("openpyxl")
    return openpyxl.Workbook()


ROWS = [line.split(",") for line in PLAIN.splitlines()]


def test_workbook(tmp_path, workbook):
    sheet = workbook.active
    sheet.append(ROWS[0])
    sheet.append(["Müller.png", 1234.5, 20, None, None])
    workbook.create_sheet("empty")
    workbook.save(tmp_path / "a.xlsx")
    found = read(tmp_path / "a.xlsx")
    assert found.lines == (2, 2)
    # Numbers as text, with a decimal comma.
    sheet.append(["f2.png", "1,5", "2,5", 3, 4])
    workbook.save(tmp_path / "a.xlsx")
    found = read_point_sets(tmp_path / "a.xlsx")[1]
    np.testing.assert_array_equal(found.points, [[1.5, 2.5], [3, 4]])


def test_names_in_a_workbook_that_are_numbers(tmp_path, workbook):
    workbook.active.append(["image", "label", "x", "y"])
    workbook.active.append([12, 7.0, 1, 2])
    workbook.save(tmp_path / "a.xlsx")
    found = read_points(tmp_path / "a.xlsx")
    assert (found.image, found.labels) == ("12", ("7",))


def test_workbooks_that_are_refused(tmp_path, workbook):
    path = tmp_path / "a.xlsx"
    workbook.active.append(["label", "x", "y"])
    workbook.active.append(["a", "=1+1", 2])
    workbook.save(path)
    with pytest.raises(ValueError, match="a.xlsx, sheet 'Sheet', row 2: a formula has"):
        read_points(path)
    workbook.create_sheet("other").append(["x"])
    workbook.active["B2"] = 1
    workbook.save(path)
    with pytest.raises(ValueError, match="text on one sheet only.* Sheet, other"):
        read_points(path)
    path.write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(ValueError, match="a.xlsx is not an Excel workbook"):
        read_points(path)


def test_workbook_of_a_huge_extent(tmp_path, workbook):
    workbook.active.append(["label", "x", "y"])
    workbook.active.append(["a", 1, 2])
    workbook.active.cell(1_048_576, 1).value = "end"
    workbook.save(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="a.xlsx, sheet 'Sheet' must have at most"):
        read_points(tmp_path / "a.xlsx")


def test_workbook_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install scn-keras\[excel\]"):
        read_points(tmp_path / "a.xlsx")
