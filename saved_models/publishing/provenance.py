"""The provenance of a model: its training, its results and the terms of its data."""

import csv
import dataclasses
import json
import pathlib
from typing import Any

from scn_keras.datasets import builder_class
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipes import load_recipe, recipe_names
from scn_keras.training.run import Run

# Entries of results and protocols that are not published, such as ids and paths.
_PRIVATE_ENTRIES = ("ids", "excluded", "seconds")
# `start` may be a path. The recipe of a preset contains only its name.
_PRIVATE_PROTOCOL_ENTRIES = ("run", "command", "start")


def provenance(run: Run) -> dict[str, Any]:
    """Returns the facts about a run for model cards.

    They contain no image ids and no paths of this machine.

    Args:
        run: `Run`; for a preset, the facts in its `metadata.json` are returned.

    Returns:
        Dict of `results`, those on the run's data set; `command`, the command that
        trains the recipe, as a list of str, or `None`; `seconds`, the duration of the
        training, or `None`; `environment`; and `license` and `limits`, the statements
        of the data set about models of its images, each possibly empty.

    Example:

    ```python
    provenance(Run("runs/mine"))["command"]
    ```
    """
    preset = run.path / "metadata.json"
    if preset.is_file():
        metadata = json.loads(preset.read_text("utf-8"))
        keys = ("results", "command", "seconds", "environment", "license", "limits")
        return {key: metadata[key] for key in keys}
    license, limits = _terms(run.recipe)
    return {
        "results": _results(run),
        "command": _command(run.recipe),
        "seconds": _seconds(run),
        "environment": _environment(run),
        "license": license,
        "limits": limits,
    }


def _results(run: Run) -> list[dict[str, Any]]:
    """Returns the results on the run's data set without private entries."""
    results = []
    for result in run.results():
        protocol = result["protocol"]
        if _data_set(protocol["dataset"]) != _data_set(run.recipe.dataset):
            continue
        for key in _PRIVATE_ENTRIES:
            result.pop(key, None)
        for key in _PRIVATE_PROTOCOL_ENTRIES:
            protocol.pop(key, None)
        results.append(result)
    return results


def _data_set(name: str) -> str:
    """Returns the name of a data set without its configuration and version."""
    return name.partition("/")[0]


def _terms(recipe: Recipe) -> tuple[str, str]:
    try:
        builder = builder_class(_data_set(recipe.dataset))
    except ValueError:  # a data set registered by another program
        return "", ""
    return builder.LICENSE, builder.LIMITS


def _command(recipe: Recipe) -> list[str] | None:
    """Returns the command that trains a recipe of the package, `None` for others.

    The original command is not used, because it may contain paths of one machine, and
    the recipe of the package may have changed since then.
    """
    if recipe.name not in recipe_names():
        return None
    start = []
    if recipe.start is not None:
        start = ["--from", pathlib.Path(recipe.start).name]
    settings = dataclasses.replace(recipe, start=None).settings(
        load_recipe(recipe.name)
    )
    changes = [part for setting in settings for part in ("--set", setting)]
    return ["scn-keras", "train", recipe.name, *start, *changes]


def _seconds(run: Run) -> float | None:
    """Returns the duration of the training with all stages; `None` for an ensemble."""
    if not run.history_path.is_file():
        return None
    with run.history_path.open(newline="", encoding="utf-8") as file:
        seconds = float([*csv.DictReader(file)][-1]["seconds"])
    if run.recipe.coarse is not None:
        seconds += _seconds(Run(run.path / "coarse")) or 0.0
    return seconds


def _environment(run: Run) -> dict[str, Any]:
    path = run.path / "environment.json"
    environment = json.loads(path.read_text("utf-8"))
    environment.pop("command")
    environment.pop("data", None)  # folders of this machine
    return environment
