"""Every block of Python of every page runs."""

import importlib
import json
import sys
import tomllib

import pytest
import yaml

from tests.docs.pages import REPOSITORY, blocks, name_of, pages

# Blocks that are not run and do not say what they are: output, commands, layouts.
PLAIN = ("", "text", "bash")
PARSERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
# Pages whose code is run, with its results, by another test.
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/guides/extending/feature_extractor.md": (
        "tests/models/test_with_spatial_configuration.py"
    ),
    "docs/guides/serving.md": "tests/saved_models/client/test_serving_page.py",
    **dict.fromkeys(
        (
            "docs/guides/extending/callback.md",
            "docs/guides/first_model.md",
            "docs/guides/jax.md",
            "docs/guides/seeing.md",
        ),
        "tests/docs/test_training_pages.py",
    ),
}
CODE = {
    name_of(page): [
        b for b in blocks(page.read_text("utf-8")) if b.language == "python"
    ]
    for page in pages()
}


@pytest.mark.parametrize(
    "page", [page for page, found in CODE.items() if found and page not in ELSEWHERE]
)
def test_python_runs(page, tmp_path, monkeypatch):
    """Runs the blocks of a page in their order, as one module in an empty folder."""
    code = "\n".join(block.code for block in CODE[page])
    (tmp_path / "code_of_page.py").write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "code_of_page", raising=False)
    try:
        importlib.import_module("code_of_page")
    finally:
        sys.modules.pop("code_of_page", None)


def test_the_blocks_are_not_overlooked():
    assert sum(map(len, CODE.values())) > 20


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_other_blocks_are_well_formed(page):
    for block in blocks(page.read_text("utf-8")):
        if block.language in PARSERS:
            PARSERS[block.language](block.code)
        elif block.language != "python" and not block.language.startswith("{"):
            assert block.language in PLAIN, block.language


def test_blocks_are_found():
    text = (
        "```python\na\n```\n\n"
        "- x\n\n  ```\n  c\n    d\n  ```\n<!-- run first:\ne\n-->\n"
    )
    assert [tuple(block) for block in blocks(text)] == [
        ("python", "a\n"),
        ("", "c\n  d\n"),
        ("python", "e\n"),
    ]


def test_the_documents_are_those_of_the_repository():
    assert {"README.md", "docs/index.md", "docs/results.md"} <= {*map(name_of, pages())}
    assert (REPOSITORY / "setup.cfg").is_file()


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_other_tests_run_the_rest(page, test):
    assert page in CODE
    assert page.rpartition("/")[2] in (REPOSITORY / test).read_text("utf-8")
