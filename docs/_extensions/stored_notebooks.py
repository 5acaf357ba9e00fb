"""Refuses tutorials whose stored outputs do not belong to their source.

A tutorial is `tutorials/NAME.py` (cells in the percent form). `tutorials/NAME.ipynb` is
the same after a full run, with its outputs and, in its metadata under `scn_keras`, the
digest of the source and of the files of data that it read. The site shows the notebook
and executes nothing.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

METADATA = "scn_keras"


def source_digest(source: pathlib.Path, data: Iterable[pathlib.Path] = ()) -> str:
    """Returns the SHA-256 digest of a tutorial's source and of its files of data."""
    digest = hashlib.sha256()
    for file in (source, *sorted(data)):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def metadata(source: pathlib.Path, data: Iterable[pathlib.Path] = ()) -> dict[str, Any]:
    """Returns what a notebook stores under `METADATA` beside its outputs."""
    data = sorted(data)
    return {
        "data": [
            pathlib.Path(os.path.relpath(file, source.parent)).as_posix()
            for file in data
        ],
        "sha256": source_digest(source, data),
    }


def stale_notebooks(folder: pathlib.Path) -> list[str]:
    """Returns a sentence for each tutorial without outputs that belong to it."""
    sentences = []
    for source in sorted(folder.glob("*.py")):
        notebook = source.with_suffix(".ipynb")
        if not notebook.is_file():
            sentences.append(f"{source.name} has no stored outputs ({notebook.name}).")
            continue
        stored = json.loads(notebook.read_text("utf-8"))["metadata"].get(METADATA, {})
        data = [folder / name for name in stored.get("data", [])]
        missing = [file.name for file in data if not file.is_file()]
        if missing:
            sentences.append(f"{source.name}: {', '.join(missing)} is missing.")
        elif stored.get("sha256") != source_digest(source, data):
            sentences.append(
                f"{source.name} or its data changed after {notebook.name} was stored."
            )
    for notebook in sorted(folder.glob("*.ipynb")):
        if not notebook.with_suffix(".py").is_file():
            sentences.append(f"{notebook.name} has no source {notebook.stem}.py.")
    return sentences


def _refuse_stale(app: Sphinx) -> None:
    sentences = stale_notebooks(pathlib.Path(app.srcdir) / "tutorials")
    if sentences:
        raise ExtensionError(
            "The stored outputs of tutorials are not up to date: "
            f"{' '.join(sentences)} Run the tutorials in full and store their outputs "
            "again, see docs/tutorials/index.md."
        )


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", _refuse_stale)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
