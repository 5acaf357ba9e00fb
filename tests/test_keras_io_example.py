"""The example in the form of keras.io runs, and keeps to their form."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "examples/keras_io/landmark_heatmaps.py"
if not FILE.is_file():
    pytest.skip("The examples are not installed.", allow_module_level=True)
TEXT = FILE.read_text("utf-8")

# What makes it short, and the line that it stands for.
SMALL = {
    "= 200, 50, 100\n": "= 8, 4, 4\n",
    "EPOCHS, BATCH_SIZE = 20, 4\n": "EPOCHS, BATCH_SIZE = 1, 4\n",
}


def test_it_has_the_header_of_keras_io():
    header = ast.get_docstring(ast.parse(TEXT))
    keys = re.findall(r"^([A-Z][a-z ]+): \S", header, re.MULTILINE)
    assert keys == [
        *("Title", "Author", "Date created", "Last modified"),
        *("Description", "Accelerator"),
    ]
    dates = re.findall(r"(?:created|modified): (.+)", header)
    assert all(re.fullmatch(r"20\d\d/[01]\d/[0-3]\d", date) for date in dates)


def test_it_needs_nothing_but_keras_numpy_and_matplotlib():
    tree = ast.parse(TEXT)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert names == {"keras", "matplotlib", "numpy"}
    assert "$" not in TEXT  # their rule: no LaTeX


def test_it_runs_with_small_settings(tmp_path):
    pytest.importorskip("matplotlib")
    text = TEXT
    for line, short in SMALL.items():
        assert text.count(line) == 1
        text = text.replace(line, short)
    (tmp_path / "example.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", tmp_path / "example.py"],
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = re.findall(r"^(.+): mean ([\d.]+) px, ([\d.]+) mm,$", done.stdout, re.M)
    stated = re.findall(r"^(.+): mean ([\d.]+) px, ([\d.]+) mm,$", TEXT, re.M)
    assert [name for name, *_ in printed] == [name for name, *_ in stated]
    assert len(stated) == 3 and all(0.0 < float(mm) < 60.0 for *_, mm in printed)
