"""docs/formats.md names existing tests and every format of points."""

import re
from pathlib import Path

import pytest

from scn_keras.files import unread_formats
from scn_keras.files.read_points import POINT_SUFFIXES

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "formats.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "name"), sorted({*re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)})
)
def test_tests_of_the_page_exist(path, name):
    text = (REPOSITORY / "tests" / path).read_text("utf-8")
    assert re.search(rf"^\s*def {name}\(", text, re.MULTILINE)


def test_every_suffix_is_on_the_page():
    suffixes = {*POINT_SUFFIXES, *unread_formats._ADVICE}
    assert suffixes - {*re.findall(r"`(\.[\w.]+)", PAGE)} == set()
