"""Runs the examples (`>>>`) of all docstrings."""

import configparser
import doctest
import importlib.util
import os
from pathlib import Path

import keras
import numpy as np
import pytest

import scn_keras

# The rooms that import Keras and NumPy alone run on every backend.
KERAS_ROOMS = ("geometry", "layers", "losses", "metrics", "models", "warp")


def modules_with_examples() -> list[str]:
    """Names of the modules of setup.cfg's packages that hold an example."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(Path(__file__).parents[1] / "setup.cfg", "utf-8")
    names = []
    for package in config["options"]["packages"].split():
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations, package
        folder = Path(spec.submodule_search_locations[0])
        for path in sorted(folder.glob("*.py")):
            if ">>> " in path.read_text("utf-8"):
                stem = path.stem
                names.append(package if stem == "__init__" else f"{package}.{stem}")
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        names = [name for name in names if name.split(".")[1] in KERAS_ROOMS]
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name, capsys):
    results = doctest.testmod(
        importlib.import_module(name),
        extraglobs={"keras": keras, "np": np, "scn_keras": scn_keras},
    )
    assert results.attempted > 0
    assert results.failed == 0, capsys.readouterr().out
