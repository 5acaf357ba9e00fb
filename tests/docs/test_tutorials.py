"""Tutorials run with small settings, and their student's versions lack solutions."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS

pytest.importorskip("jupytext", reason="Jupytext is not installed.")
pytest.importorskip("nbclient", reason="nbclient is not installed.")
if not (DOCS / "conf.py").is_file():
    pytest.skip("The documents are not there.", allow_module_level=True)

SOURCES = sorted((DOCS / "tutorials").glob("*.py"))
# Runs a tutorial and requires finite results and a picture.
CHECK = """
import runpy, sys, warnings
import keras
import matplotlib.pyplot as plt
import numpy as np

names = runpy.run_path(sys.argv[1], run_name="__main__")
values = keras.tree.flatten(names["results"])
assert values and all(np.isfinite(np.asarray(v, float)).all() for v in values)
assert plt.get_fignums(), "There is no figure."
"""


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    yield importlib.import_module("_extensions.run_tutorials")
    for name in [name for name in sys.modules if name.startswith("_extensions")]:
        del sys.modules[name]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_tutorial_runs_with_small_settings(source, tmp_path):
    environment = {**os.environ, "SCN_KERAS_TUTORIAL": "small", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(source)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,  # a busy machine
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not any(tmp_path.iterdir()), "A tutorial leaves files behind."


def test_student_has_the_exercises_and_no_solutions(tools, tmp_path):
    source = tmp_path / "first.py"
    source.write_text(
        "# %% [markdown]\n# # First\n\n# %%\nprint(1 + 1)\n\n"
        '# %% [markdown]\n# ## Exercises\n\n# %% [markdown] tags=["solution"]\n'
        '# It is 2.\n\n# %% tags=["solution"]\nanswer = 2\n',
        "utf-8",
    )
    notebook = tools.notebook_of(source)
    assert [cell.cell_type for cell in notebook.cells] == [
        *("markdown", "code", "markdown", "markdown", "code"),
    ]
    notebook.cells[1].outputs = [{"output_type": "stream"}]
    student = tools.student_version(notebook)
    assert [cell.source for cell in student.cells] == [
        *("# First", "print(1 + 1)", "## Exercises"),
    ]
    assert student.cells[1].outputs == []
    assert len(notebook.cells) == 5 and notebook.cells[1].outputs


def test_a_run_stores_outputs_and_digest(tools, tmp_path):
    source = tmp_path / "first.py"
    source.write_text(
        "# %% [markdown]\n# # First\n\n# %%\nimport sys\nprint(1 + 1)\n"
        "print('log', file=sys.stderr, flush=True)\nprint('end', flush=True)\n"
        # TensorFlow writes its logs to standard output in a notebook.
        "print('INFO:tensorflow:Assets written to: models')\n",
        "utf-8",
    )
    tools.run(source)
    stored = json.loads(source.with_suffix(".ipynb").read_text("utf-8"))
    (output,) = stored["cells"][1]["outputs"]
    assert output["text"] == ["2\n", "end\n"]  # one block, whatever is between
    notebooks = importlib.import_module("_extensions.stored_notebooks")
    assert notebooks.stale_notebooks(tmp_path) == []
    student = json.loads((tmp_path / "student" / "first.ipynb").read_text("utf-8"))
    assert student["cells"][1]["outputs"] == []


def test_outputs_are_kept_if_the_text_alone_changes(tools, tmp_path):
    source = tmp_path / "first.py"
    source.write_text("# %% [markdown]\n# # First\n\n# %%\nprint(1 + 1)\n", "utf-8")
    path = source.with_suffix(".ipynb")
    tools.run(source)
    path.write_text(path.read_text("utf-8").replace('"2\\n"', '"kept\\n"'), "utf-8")
    source.write_text(source.read_text("utf-8").replace("First", "Second"), "utf-8")
    tools.run(source)
    stored = json.loads(path.read_text("utf-8"))
    assert stored["cells"][0]["source"] == ["# Second"]
    assert stored["cells"][1]["outputs"][0]["text"] == ["kept\n"]
    source.write_text(source.read_text("utf-8").replace("1 + 1", "3"), "utf-8")
    tools.run(source)
    stored = json.loads(path.read_text("utf-8"))
    assert stored["cells"][1]["outputs"][0]["text"] == ["3\n"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_students_version_is_that_of_the_source(tools, source):
    path = source.parent / "student" / f"{source.stem}.ipynb"
    stored = json.loads(path.read_text("utf-8"))
    expected = tools.student_version(tools.notebook_of(source))
    assert ["".join(cell["source"]) for cell in stored["cells"]] == [
        cell.source for cell in expected.cells
    ]
