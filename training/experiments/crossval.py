"""Cross-validation over the patients of a training split."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import rich.console
from rich.markup import escape

from scn_keras.datasets.identity.image_table import listed
from scn_keras.training.evaluation.evaluate import (
    locate_images,
    locator_for,
    split_of,
    write_results,
)
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.evaluation.seen_images import UNSEEN, seen_images
from scn_keras.training.fit import fit
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.stored_source import training_samples
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
    """Trains and evaluates a recipe by cross-validation over patients.

    The folds are drawn with the recipe's seed. Run k in `PATH/fold{k}` is trained
    without the patients of fold k and locates their images. The images of all folds are
    evaluated together as one set, in `PATH/all`, a run with results and points but
    without a model. An interrupted cross-validation continues with `resume`.

    Args:
        recipe: `Recipe`; its `validation` is replaced by the folds.
        folds: Int, the number of folds, at least 2.
        path: The folder of the runs.
        data_dir: The folder of prepared data sets.
        resume: Bool, whether to continue in an existing folder.
        console: `rich.console.Console` for progress and remarks.

    Returns:
        The results of all training images, one for each truth, as in `evaluate`. If an
        image is in several folds, under several ids, those without it are added. The
        entry `fold` of their protocol is `"each of N"`.

    Raises:
        FileExistsError: If the folder is not empty and `resume` is not set.
        ValueError: If there are fewer patients than folds.

    Example:

    ```python
    results = crossval(load_recipe("cephalogram_fast"), 4, "runs/cephalogram_4fold")
    ```
    """
    console = console or rich.console.Console()
    path = pathlib.Path(path)
    if path.exists() and any(path.iterdir()) and not resume:
        raise FileExistsError(
            f"{path} exists and is not empty. Continue it with --resume, or choose "
            "another folder with --out."
        )
    builder = data.prepared_builder(recipe.dataset, data_dir)
    located, seconds = [], 0.0
    seen: set[str] | None = set()
    for run in train_folds(recipe, folds, path, data_dir, console):
        images = split_of(run, HELD_OUT, data_dir)
        seen = _with_repeats(seen, run, images, console)
        locator = locator_for(run, images)
        fold_images, fold_seconds = locate_images(
            locator, images, run.recipe, console=console
        )
        located += fold_images
        seconds += fold_seconds
    folder = path / "all"
    held_out_recipe = dataclasses.replace(recipe, test_split=HELD_OUT)
    run = (
        Run(folder)
        if (folder / "recipe.json").is_file()
        else Run.create(
            folder,
            held_out_recipe,
            builder.SCHEMA,
            orientation=data.orientation_of(builder),
        )
    )
    located.sort(key=lambda image: image.id)
    protocol = {
        "fold": f"each of {folds}",
        "validation": None,
        "command": ["scn-keras", "crossval", recipe.name, "--folds", str(folds)],
    }
    results, _ = write_results(run, images, located, seconds, protocol, seen=seen)
    return results


def _with_repeats(seen, run, images, console):
    """Adds the held-out images of a fold that are training images under another id."""
    repeats = seen_images(run, images.table())
    if repeats is None or seen is None:
        return None
    if repeats:
        console.print(
            f"[yellow]{escape(run.path.name)} was trained on held-out images: "
            f"{escape(listed(repeats))}. The results without them are those of "
            f"{HELD_OUT}{UNSEEN}.",
            highlight=False,
        )
    return seen | {repeat.id for repeat in repeats}


def train_folds(
    recipe: Recipe,
    folds: int,
    path: pathlib.Path,
    data_dir: str | pathlib.Path | None,
    console: rich.console.Console,
) -> Iterator[Run]:
    """Trains the runs `PATH/fold{k}` if they are not finished, and yields them.

    Raises:
        ValueError: If there are fewer patients than folds, or a landmark has no point
            outside of one of the folds.
    """
    recipes = fold_recipes(recipe, folds)
    # Raises an error for too many folds, or a fold without a point of a landmark.
    for fold_recipe in recipes:
        training_samples(fold_recipe, data_dir)
    for k, fold_recipe in enumerate(recipes):
        console.print(f"Fold {k + 1} of {folds}")
        yield fit(fold_recipe, path / f"fold{k}", data_dir, resume=True)


def fold_recipes(recipe: Recipe, folds: int) -> list[Recipe]:
    """Returns the recipes of the folds of a cross-validation."""
    return [
        dataclasses.replace(recipe, name=f"{recipe.name}_{k}", fold=(k, folds))
        for k in range(folds)
    ]
