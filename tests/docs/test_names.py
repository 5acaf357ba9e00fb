"""Names of the code that the documents mention exist."""

import importlib
import re

import pytest

from tests.docs.pages import REPOSITORY, name_of, pages

_LITERAL = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_DOTTED = re.compile(r"(scn_keras(?:\.\w+)+)(?:\(.*)?")
_FILE = re.compile(
    r"(?:scn_keras|datasets|training|saved_models|benchmarks|tests|docs|"
    r"examples)/[\w./-]+\.\w+"
)


def exists(path):
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for name in parts[count:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_dotted_names_exist(page):
    literals = _LITERAL.findall(page.read_text("utf-8"))
    names = {match[1] for text in literals if (match := _DOTTED.fullmatch(text))}
    assert [name for name in sorted(names) if not exists(name)] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_files_of_the_repository_exist(page):
    literals = _LITERAL.findall(page.read_text("utf-8"))
    paths = {text for text in literals if _FILE.fullmatch(text)}
    assert [path for path in sorted(paths) if not (REPOSITORY / path).exists()] == []


def test_missing_names_are_found():
    assert exists("scn_keras.layers.HeatmapPeak.call")
    assert not exists("scn_keras.layers.HeatmapPeek")
    assert not exists("scn_keras.layerz")
