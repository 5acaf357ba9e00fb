import csv
import io

import numpy as np
import pytest

from scn_keras.files import PointSet, read_point_sets, write_points
from scn_keras.files.shown_text import csv_text, from_csv_text, shown_text


@pytest.mark.parametrize("text", ["sella", "骨", "a b", "'quoted'", "", "$x$", "1-2"])
def test_ordinary_names_are_as_they_are(text):
    assert shown_text(text) == csv_text(text) == from_csv_text(text) == text


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e3", "-.5"])
def test_numbers_are_no_formulas(text):
    assert csv_text(text) == text


@pytest.mark.parametrize(
    "text", ["=1+1", "@SUM(A1)", "+a", "-1+2", "\tx", "\r=x", "'=x", "-", '="a"']
)
def test_formulas_get_an_apostrophe_and_are_read_without(text):
    written = csv_text(text)
    assert written == f"'{text}"
    assert from_csv_text(written) == text


def test_what_terminals_and_files_cannot_take_is_escaped():
    assert shown_text("a\x1b[31m\nb\u202e") == r"a\x1b[31m\nb\u202e"
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert shown_text(name) == r"caf\xe9"
    shown_text("\ud800").encode("utf-8")


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_labels_and_images_of_tables_come_back(tmp_path, layout):
    labels = ("=1+1", "+a", "-", "@b", "'=c")
    points = PointSet(labels, np.arange(10.0).reshape(5, 2), image="=film")
    path = tmp_path / "p.csv"
    write_points(path, points, layout=layout)
    cells = [cell for row in csv.reader(io.StringIO(path.read_text())) for cell in row]
    names = [cell for cell in cells if not cell.replace(".", "").isdigit()]
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)
    (read,) = read_point_sets(path)
    assert read.labels == labels and read.image == "=film"
    np.testing.assert_array_equal(read.points, points.points)
