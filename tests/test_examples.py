"""Runs the examples (`>>>`) of all docstrings."""

import doctest
import glob
import importlib
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import scn_keras

# What imports Keras and NumPy alone runs on every backend.
LIBRARY = (
    "alignment",
    "classical",
    "geometry",
    "landmark_schema",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "warp",
)


def modules_with_examples() -> list[str]:
    """Names of the modules of the package that hold an example."""
    names = []
    for folder in scn_keras.__path__:
        for path in sorted(map(Path, glob.glob(f"{folder}/**/*.py", recursive=True))):
            if ">>> " in path.read_text("utf-8"):
                parts = path.relative_to(folder).with_suffix("").parts
                names.append(".".join(("scn_keras", *parts)).removesuffix(".__init__"))
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        names = [name for name in names if name.split(".")[1] in LIBRARY]
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name, capsys):
    results = doctest.testmod(
        importlib.import_module(name),
        extraglobs={"keras": keras, "np": np, "scn_keras": scn_keras},
    )
    assert results.attempted > 0
    assert results.failed == 0, capsys.readouterr().out
