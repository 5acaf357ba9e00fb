"""Ensembles of runs, and test-time augmentation of a run."""

import dataclasses
import pathlib
import shutil
from collections.abc import Sequence

from scn_keras.models import LandmarkEnsemble
from scn_keras.training.run import Run, write_json
from scn_keras.training.used_images import UsedImages


def make_ensemble(
    runs: Sequence[Run], path: str | pathlib.Path, views: bool = False
) -> Run:
    """Creates a run from several finished runs, whose heatmaps are averaged.

    The new run contains copies of their weights. It can be evaluated, compared and used
    for prediction like any run. `inference.json` lists the members. A single run is
    also possible, to add test-time augmentation. If the runs have coarse stages, that
    of the first run is used for all.

    Args:
        runs: Sequence of finished `Run`s with the same landmarks and the same grid.
        path: The folder of the new run.
        views: Bool, whether points are the mean over rotated and scaled views of an
            image, see `inference.test_time_views`. This takes five times as long.

    Returns:
        The new `Run`, with the first member's recipe.

    Raises:
        FileExistsError: If the folder is not empty.
        FileNotFoundError: If a run is not finished.
        ValueError: If the runs do not match.

    Example:

    ```python
    folds = [Run(f"runs/cephalogram/fold{k}") for k in range(4)]
    evaluate(make_ensemble(folds, "runs/cephalogram_ensemble"), "test1")
    ```
    """
    if not runs:
        raise ValueError("An ensemble needs at least one run. Received: runs=[]")
    for run in runs:
        _require_member(run)
    first = runs[0]
    for run in runs[1:]:
        # All members must have the same preprocessing.
        ours, theirs = first.recipe.image_to_grid, run.recipe.image_to_grid
        differing = [
            field.name
            for field in dataclasses.fields(ours)
            if getattr(ours, field.name) != getattr(theirs, field.name)
        ]
        if run.orientation != first.orientation:
            differing.append("the rule for files with an orientation tag")
        if run.schema != first.schema:
            differing.append("landmarks")
        if _shape(run) != _shape(first):  # the pose of their images differs
            differing.append("the mean shape of the coarse stage")
        if differing:
            raise ValueError(
                f"{first.path} and {run.path} cannot be members of one ensemble, "
                f"because they differ. Received different: {', '.join(differing)}"
            )
    models = [run.load_model() for run in runs]
    path = pathlib.Path(path)
    recipe = dataclasses.replace(first.recipe, name=path.name)
    ensemble = Run.create(path, recipe, first.schema, orientation=first.orientation)
    try:
        write_json(
            ensemble.inference_path,
            {"members": [str(run.path) for run in runs], "views": views},
        )
        if used := UsedImages.union([run.used_images for run in runs]):
            used.write(path)
        if recipe.coarse is not None:
            ensemble.shape_path.write_text(_shape(first), "utf-8")
            shutil.copytree(
                first.path / "coarse",
                path / "coarse",
                ignore=shutil.ignore_patterns("checkpoints"),
            )
        ensemble.save_model(LandmarkEnsemble(models))
    except BaseException:
        shutil.rmtree(path)
        raise
    return ensemble


def _require_member(run):
    run.require_network("An ensemble")
    if run.offsets is not None:
        raise ValueError(
            "The heatmaps of an ensemble are averaged before offsets apply. Make it "
            "from the runs before they were adapted, and adapt the ensemble. "
            f"Received: {run.path}"
        )


def _shape(run):
    return run.shape_path.read_text("utf-8") if run.recipe.coarse is not None else ""
