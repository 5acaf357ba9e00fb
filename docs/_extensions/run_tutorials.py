"""Runs the tutorials in full and stores them with their outputs.

    make tutorials
    make tutorials NAMES=01_heatmaps

A cell of a solution has the tag `solution`. The student's version of a tutorial,
`tutorials/student/NAME.ipynb`, is without these cells and without outputs.
"""

import argparse
import os
import pathlib
import re
import time
from collections.abc import Sequence

import jupytext
import nbclient
import nbformat

from _extensions.stored_notebooks import METADATA, metadata

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "tutorials"
SOLUTION = "solution"
# Seconds a cell, also on a machine that is busy with other things.
_TIMEOUT = 3600
# Progress bars and logs of TensorFlow differ from run to run.
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "COLUMNS": "88",
}


def notebook_of(source: pathlib.Path) -> nbformat.NotebookNode:
    """Returns the notebook of a tutorial in the percent form, without outputs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                **{"name": "python3", "display_name": "Python 3"},
                "language": "python",
            },
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random by default
    return notebook


def student_version(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Returns a notebook without solutions and outputs."""
    cells = []
    for cell in notebook.cells:
        if SOLUTION in cell.metadata.get("tags", ()):
            continue
        cell = nbformat.from_dict(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    return nbformat.from_dict(
        {
            **notebook,
            "cells": cells,
            "metadata": {
                key: value
                for key, value in notebook.metadata.items()
                if key != METADATA
            },
        }
    )


def run(source: pathlib.Path) -> float:
    """Runs a tutorial and writes both notebooks; returns the time in seconds.

    If nothing but its text has changed, its outputs are kept.
    """
    notebook = notebook_of(source)
    started = time.monotonic()
    if not _keep_outputs(notebook, source.with_suffix(".ipynb")):
        client = nbclient.NotebookClient(
            notebook, timeout=_TIMEOUT, kernel_name="python3", record_timing=False
        )
        client.execute(cwd=str(source.parent))
    seconds = time.monotonic() - started
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [o for o in map(_stable, cell.outputs) if o is not None]
            cell.outputs = _merged(outputs)
    notebook.metadata[METADATA] = metadata(source)
    student = source.parent / "student" / f"{source.stem}.ipynb"
    student.parent.mkdir(exist_ok=True)
    for path, version in (
        (student, student_version(notebook)),
        (source.with_suffix(".ipynb"), notebook),
    ):
        nbformat.write(version, path)
    return seconds


def _keep_outputs(notebook: nbformat.NotebookNode, stored: pathlib.Path) -> bool:
    """Takes the outputs of a stored notebook with the same code; returns whether."""
    if not stored.is_file():
        return False
    new, old = (
        [cell for cell in each.cells if cell.cell_type == "code"]
        for each in (notebook, nbformat.read(stored, as_version=4))
    )
    if [cell.source for cell in new] != [cell.source for cell in old]:
        return False
    for cell, known in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = known.outputs, known.execution_count
    return True


def _stable(output):
    """Returns an output without what differs from machine to machine.

    Logs and progress bars are on the standard error.
    """
    if output.output_type == "display_data" and "image/png" not in output.data:
        return None  # a progress bar
    if output.output_type != "stream":
        return output
    if output.name == "stderr":
        return None
    text = re.sub(
        r"^((INFO|WARNING):|[IWE]\d{4} ).*\n", "", output.text, flags=re.MULTILINE
    )
    output.text = re.sub(r"/tmp/\w+", "/tmp/tutorial", text)
    return output if output.text else None


def _merged(outputs):
    """Joins texts between which there was a log, so that they are one block."""
    merged = []
    for output in outputs:
        if merged and {output.output_type, merged[-1].output_type} == {"stream"}:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="Tutorials to run; all by default.")
    names = parser.parse_args(arguments).names
    os.environ.update(_ENVIRONMENT)
    sources = sorted(FOLDER.glob("*.py"))
    if unknown := {*names} - {source.stem for source in sources}:
        known = ", ".join(source.stem for source in sources)
        parser.error(f"no tutorial {', '.join(sorted(unknown))}. Tutorials: {known}")
    for source in sources:
        if not names or source.stem in names:
            print(f"{source.stem}: {run(source):.0f} s", flush=True)


if __name__ == "__main__":
    main()
