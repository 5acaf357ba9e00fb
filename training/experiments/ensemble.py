"""Ensembles of runs, and test-time augmentation of a run."""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence

from scn_keras.models import LandmarkEnsemble
from scn_keras.training.run import Run, write_json


def make_ensemble(
    runs: Sequence[Run], path: str | pathlib.Path, views: bool = False
) -> Run:
    """Makes a run of several finished runs, whose heatmaps are averaged.

    It holds copies of their weights and is evaluated, compared and used to predict
    as any run. `inference.json` names the members. A single run is allowed, to have
    one with test-time augmentation. Of runs from coarse to fine the first one's coarse
    part serves all.

    Args:
        runs: Runs, finished, of the same landmarks on the same grid.
        path: The folder of the new run.
        views: Bool, whether points are the mean over turned and magnified views of
            an image, see `inference.test_time_views`. Five times the work.

    Returns:
        The new `Run`, with the first member's recipe.

    Raises:
        FileExistsError: If the folder is not empty.
        FileNotFoundError: If a run is not finished.
        ValueError: If the runs do not go together.

    Example:

    ```python
    folds = [Run(f"runs/cephalogram/fold{k}") for k in range(4)]
    evaluate(make_ensemble(folds, "runs/cephalogram_ensemble"), "test1")
    ```
    """
    if not runs:
        raise ValueError("An ensemble needs at least one run.")
    for run in runs:
        run.require_network("An ensemble")
    first = runs[0]
    for run in runs[1:]:
        # All must see an image brought to the grid in the same way.
        ours, theirs = first.recipe.image_to_grid, run.recipe.image_to_grid
        unlike = [
            field.name
            for field in dataclasses.fields(ours)
            if getattr(ours, field.name) != getattr(theirs, field.name)
        ]
        if run.schema != first.schema:
            unlike.append("landmarks")
        if _shape(run) != _shape(first):  # each has seen images in a pose of its own
            unlike.append("the mean shape that grids are laid over")
        if unlike:
            raise ValueError(
                f"{run.path} does not go into one ensemble with {first.path}: they "
                f"differ in {', '.join(unlike)}."
            )
    models = [run.load_model() for run in runs]
    path = pathlib.Path(path)
    recipe = dataclasses.replace(first.recipe, name=path.name)
    made = Run.create(path, recipe, first.schema)
    try:
        write_json(
            made.inference_path,
            {"members": [str(run.path) for run in runs], "views": views},
        )
        if recipe.coarse is not None:
            made.shape_path.write_text(_shape(first), "utf-8")
            shutil.copytree(
                first.path / "coarse",
                path / "coarse",
                ignore=shutil.ignore_patterns("checkpoints"),
            )
        made.save_model(LandmarkEnsemble(models))
    except BaseException:
        shutil.rmtree(path)
        raise
    return made


def _shape(run):
    return run.shape_path.read_text("utf-8") if run.recipe.coarse is not None else ""
