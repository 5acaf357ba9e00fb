"""Every training image scored by a model that has not seen it."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import rich.console

from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    write_results,
)
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.fit import fit
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def crossval(
    recipe: Recipe,
    folds: int,
    path: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    resume: bool = False,
    console: rich.console.Console | None = None,
) -> list[dict[str, Any]]:
    """Trains a recipe on all but one of several parts of its patients, each in turn.

    The parts are drawn by the recipe's seed. Run k is kept in `PATH/fold{k}`; the
    images that it has not seen are located by it, and all of them together are scored
    as one set, in `PATH/all`, which has results and points as any run but no model.
    A cross-validation that was interrupted continues where it was.

    Args:
        recipe: `Recipe`; its `validation` is replaced by the parts.
        folds: Int, the number of parts, at least 2.
        path: The folder for the runs.
        data_dir: Where prepared data sets lie.
        resume: Bool, whether to continue in a folder that is there.
        console: `rich.console.Console` for progress and remarks.

    Returns:
        The results of all training images, one for each truth, as `evaluate` has
        them; their protocol's `fold` is `"each of N"`.

    Raises:
        FileExistsError: If the folder holds something and `resume` is not set.
        ValueError: If there are fewer patients than parts.

    Example:

    ```python
    results = crossval(load_recipe("cephalogram_fast"), 4, "runs/cephalogram_4fold")
    ```
    """
    console = console or rich.console.Console()
    path = pathlib.Path(path)
    if path.exists() and any(path.iterdir()) and not resume:
        raise FileExistsError(
            f"{path} exists and is not empty. Continue it with --resume, or name "
            "another folder with --out."
        )
    schema = data.prepared_builder(recipe.dataset, data_dir).SCHEMA
    located, seconds = [], 0.0
    for run in train_folds(recipe, folds, path, data_dir, console):
        images = PreparedSplit(run.recipe, HELD_OUT, data_dir)
        locator = locator_for(run, images)
        found, took = locate_images(locator, images, run.recipe, console=console)
        located += found
        seconds += took
    together = path / "all"
    whole = dataclasses.replace(recipe, test_split=HELD_OUT)
    run = (
        Run(together)
        if (together / "recipe.json").is_file()
        else Run.create(together, whole, schema)
    )
    located.sort(key=lambda image: image.id)
    about = {
        "fold": f"each of {folds}",
        "validation": None,
        "command": ["scn-keras", "crossval", recipe.name, "--folds", str(folds)],
    }
    results, _ = write_results(run, images, located, seconds, about)
    return results


def train_folds(
    recipe: Recipe,
    folds: int,
    path: pathlib.Path,
    data_dir: str | pathlib.Path | None,
    console: rich.console.Console,
) -> Iterator[Run]:
    """Yields the runs `PATH/fold{k}` as they are trained, or were before.

    Raises:
        ValueError: If there are fewer patients than parts.
    """
    parts = fold_recipes(recipe, folds)
    data.training_samples(parts[0], data_dir)  # or says that there are too many
    for k, part in enumerate(parts):
        console.print(f"Part {k + 1} of {folds}")
        yield fit(part, path / f"fold{k}", data_dir, resume=True)


def fold_recipes(recipe: Recipe, folds: int) -> list[Recipe]:
    """Returns the recipes of the parts of a cross-validation."""
    return [
        dataclasses.replace(recipe, name=f"{recipe.name}_{k}", fold=(k, folds))
        for k in range(folds)
    ]
