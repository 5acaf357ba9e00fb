"""Tutorials are shown with stored outputs, which must belong to their source."""

import importlib
import json
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS

pytest.importorskip("sphinx", reason="Sphinx is not installed.")
if not (DOCS / "conf.py").is_file():
    pytest.skip("The documents are not there.", allow_module_level=True)


@pytest.fixture
def stored(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module("_extensions.stored_notebooks")
    for name in [name for name in sys.modules if name.startswith("_extensions")]:
        del sys.modules[name]


def write_notebook(source, metadata):
    """Writes the notebook of a source, whose only output is not that of its code."""
    output = {"output_type": "stream", "name": "stdout", "text": "stored, not computed"}
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "id": "one",
        "metadata": {},
        "outputs": [output],
        "source": "print(1 + 1)",
    }
    title = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# First"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": [title, cell],
        "metadata": {"kernelspec": kernel, "scn_keras": metadata},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    source.with_suffix(".ipynb").write_text(json.dumps(notebook), "utf-8")


@pytest.fixture
def tutorial(tmp_path, stored):
    """The source of a tutorial with a file of data, in a folder for Sphinx."""
    folder = tmp_path / "tutorials"
    folder.mkdir()
    (tmp_path / "points.csv").write_text("image,a_x,a_y\n", "utf-8")
    source = folder / "first.py"
    source.write_text("# %% [markdown]\n# # First\n\n# %%\nprint(1 + 1)\n", "utf-8")
    write_notebook(source, stored.metadata(source, [tmp_path / "points.csv"]))
    return source


def test_stored_outputs_of_the_source_are_accepted(tutorial, stored):
    assert stored.stale_notebooks(tutorial.parent) == []


def test_changes_are_found(tutorial, stored):
    folder = tutorial.parent
    data = folder.parent / "points.csv"
    data.write_text("image,b_x,b_y\n", "utf-8")
    assert stored.stale_notebooks(folder) == [
        "first.py or its data changed after first.ipynb was stored."
    ]
    data.unlink()
    assert stored.stale_notebooks(folder) == ["first.py: points.csv is missing."]


def test_changed_sources_and_missing_files_are_found(tutorial, stored):
    folder = tutorial.parent
    tutorial.write_text("# %%\n2 + 2\n", "utf-8")
    (message,) = stored.stale_notebooks(folder)
    assert "first.py or its data changed" in message
    tutorial.unlink()
    assert stored.stale_notebooks(folder) == ["first.ipynb has no source first.py."]


def test_the_tutorials_of_the_repository_are_up_to_date(stored):
    assert stored.stale_notebooks(DOCS / "tutorials") == []


def test_the_site_shows_stored_outputs(tutorial):
    source = tutorial.parents[1]
    (source / "index.md").write_text(
        "# Index\n\n```{toctree}\ntutorials/first\n```\n", "utf-8"
    )
    (source / "conf.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(DOCS)!r})\n"
        "extensions = ['myst_nb', '_extensions.stored_notebooks']\n"
        "nb_execution_mode = 'off'\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", source, source / "html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (source / "html" / "tutorials" / "first.html").read_text("utf-8")
    assert "stored, not computed" in page
    tutorial.write_text("# %%\n2 + 2\n", "utf-8")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "The stored outputs of tutorials are not up to date: first.py" in done.stderr
