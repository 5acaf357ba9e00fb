"""What comes with the package, read from its files without importing anything heavy."""

import ast
import difflib
import importlib.util
import json
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import click

_SHORT = "**Images and licence.**"


def recipe_files() -> dict[str, pathlib.Path]:
    """Returns the Python files of the recipes by name."""
    folder = _folder("scn_keras.training") / "recipes"
    files = sorted(folder.glob("*.py"))
    return {file.stem: file for file in files if not file.stem.startswith("_")}


def docstring(file: pathlib.Path) -> str:
    """Returns the docstring of a Python file."""
    return ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""


def published_result(recipe: str) -> str:
    """Returns the published result in the description of a recipe, or `""`."""
    file = recipe_files().get(recipe)
    paragraphs = docstring(file).split("\n\n") if file else []
    found = [text for text in paragraphs if text.startswith("Published result")]
    return " ".join(found[0].split()) if found else ""


def presets() -> dict[str, dict[str, Any]]:
    """Returns the metadata of the installed presets by name."""
    folder = _folder("scn_keras.saved_models") / "presets"
    return {
        file.parent.name: json.loads(file.read_text("utf-8"))
        for file in sorted(folder.glob("*/metadata.json"))
    }


def data_sets() -> dict[str, tuple[str, str]]:
    """Returns two sentences by name: what the images are; their number and licence."""
    found = {}
    for file in sorted(_folder("scn_keras.datasets").glob("*/README.md")):
        paragraphs = file.read_text("utf-8").split("\n\n")
        (about,) = (p for p in paragraphs if p.startswith(_SHORT))
        texts = (paragraphs[0], about.removeprefix(_SHORT))
        what, short = (" ".join(text.split()) for text in texts)
        first = re.split(r"[.:]\s|\.$", what)[0]
        found[file.parent.name] = (f"{first}.", short)
    return found


def known_recipe(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuses the name of an unknown recipe, before TensorFlow is imported."""
    del context, parameter
    if value.endswith(".py") or os.path.exists(value) or value in recipe_files():
        return value
    raise click.BadParameter(
        f"There is no recipe {value!r}. {_similar(value, recipe_files())}"
        "`scn-keras recipes` lists them. A recipe of your own is a Python file."
    )


def known_model(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuses a model that is no file, folder, address or preset, as `known_recipe`."""
    del context, parameter
    if "://" in value or os.path.exists(value) or value in presets():
        return value
    raise click.BadParameter(
        f"There is no file, folder or preset {value!r}. {_similar(value, presets())}"
        "`scn-keras presets` lists the presets."
    )


def _similar(name: str, names: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, names)
    return f"Did you mean {' or '.join(similar)}? " if similar else ""


def _folder(package: str) -> pathlib.Path:
    # It imports no package but `scn_keras`.
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    if not locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return pathlib.Path(locations[0])
