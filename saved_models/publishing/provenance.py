"""What is to be said of a model: where it comes from, how good it is, its limits."""

import csv
import dataclasses
import json
import pathlib
from typing import Any

from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipes import load_recipe, recipe_names
from scn_keras.training.run import Run


def about(run: Run) -> dict[str, Any]:
    """Returns what the card of a run's model says, also of a preset.

    Returns:
        Dict: `results`, those on the run's own data set; `command`, what trains the
        recipe, or `None`; `seconds` of the training, or `None`; `environment`;
        `license` and `limits`, what the data set says of models of its images, which
        may be empty.
    """
    preset = run.path / "metadata.json"
    if preset.is_file():
        said = json.loads(preset.read_text("utf-8"))
    else:
        license, limits = _terms(run.recipe)
        said = {
            "results": _results(run),
            "command": _command(run.recipe),
            "seconds": _seconds(run),
            "environment": _environment(run),
            "license": license,
            "limits": limits,
        }
    names = ("results", "command", "seconds", "environment", "license", "limits")
    return {name: said[name] for name in names}


def _results(run):
    """What was measured on the run's own data set, but for images and places."""
    results = []
    for result in run.results():
        protocol = result["protocol"]
        name = protocol["dataset"].partition("/")[0]
        if name != run.recipe.dataset.partition("/")[0]:
            continue
        for part, keys in (
            (result, ("ids", "excluded", "seconds")),
            # Where it started from is in the recipe, without its place.
            (protocol, ("run", "command", "start")),
        ):
            for key in keys:
                part.pop(key, None)
        results.append(result)
    return results


def _terms(recipe):
    try:
        builder = data.builder_class(recipe.dataset.partition("/")[0])
    except ValueError:  # of a program that has a data set of its own
        return "", ""
    return builder.LICENSE, builder.LIMITS


def _command(recipe: Recipe) -> list[str] | None:
    """The command that trains a recipe, exactly as it is now; `None` if there is none.

    Not the one that was typed, which names places of one machine.
    """
    if recipe.name not in recipe_names():
        return None
    base = load_recipe(recipe.name)
    start = []
    if recipe.start is not None:
        start = ["--from", pathlib.Path(recipe.start).name]
    settings = dataclasses.replace(recipe, start=None).settings(base)
    changes = [part for setting in settings for part in ("--set", setting)]
    return ["scn-keras", "train", recipe.name, *start, *changes]


def _seconds(run):
    """How long the training took, all of its parts; `None` of an ensemble."""
    if not run.history_path.is_file():
        return None
    with run.history_path.open(newline="") as file:
        seconds = float([*csv.DictReader(file)][-1]["seconds"])
    if run.recipe.coarse is not None:
        seconds += _seconds(Run(run.path / "coarse"))
    return seconds


def _environment(run):
    path = run.path / "environment.json"
    environment = json.loads(path.read_text("utf-8"))
    environment.pop("command")
    return environment
