"""Calibration of a run on training images that runs of its recipe have not seen."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.console
from keras import ops
from rich import progress
from rich.markup import escape

from scn_keras import __version__
from scn_keras.array_api import NUMPY
from scn_keras.geometry import (
    apply_affine,
    apply_to_covariance,
    has_usable_spacing,
    invert_affine,
)
from scn_keras.inference.calibration import (
    COVERAGE,
    FALSE_ALARMS,
    MIN_IMAGES,
    Calibration,
    scale,
)
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.inference.locator import Locator
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.experiments.crossval import fold_recipes, train_folds
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def calibrate(
    run: Run,
    folds: int = 4,
    crossval: str | pathlib.Path | None = None,
    settings: Sequence[str] = (),
    data_dir: str | pathlib.Path | None = None,
    console: rich.console.Console | None = None,
) -> Calibration:
    """Learns how far off a run's points are, and which images it knows.

    Every training image is located by a run of the same recipe that has not seen it,
    and the errors, scores and shapes make the run's `Calibration`, which is written
    into the run. What was interrupted continues where it was.

    Args:
        run: `Run`, its training ended.
        folds: Int, into how many parts the patients are divided; the runs of the
            parts are trained into `calibration/` of the run.
        crossval: The folder of a finished cross-validation of the same recipe, whose
            runs are used instead.
        settings: Sequence of `key=value`, changes of the recipe for the parts:
            `steps=2000` takes less time. Weaker runs are farther off, so radii come
            out wider than they need be.
        data_dir: Where prepared data sets lie.
        console: `rich.console.Console` for progress and what came out.

    Returns:
        The `Calibration`.

    Raises:
        FileNotFoundError: If the run or a part of the cross-validation is not
            finished, or the data set is not there.
        ValueError: If the parts are not of the run's recipe, or hold too few images.

    Example:

    ```python
    calibrate(Run("runs/cephalogram_fast"), crossval="runs/cephalogram_fast_4fold")
    ```
    """
    console = console or rich.console.Console()
    digest = run.weights_digest()
    if crossval is not None:
        if settings:
            raise ValueError(
                "The runs of a cross-validation are trained: settings change nothing "
                f"any more. Received: settings={list(settings)}"
            )
        parts = _finished_folds(run, pathlib.Path(crossval))
    else:
        parts = _own_folds(run, folds, settings, data_dir, console)
    splits = [PreparedSplit(part.recipe, HELD_OUT, data_dir) for part in parts]
    unseen, seen = _located_by_parts(parts, run.views, splits, console)
    locator = run.locator(calibration=None)
    own = {image["id"]: image for image in _located(run, locator, splits, console)}
    if len(unseen) < MIN_IMAGES:
        raise ValueError(
            f"A calibration takes at least {MIN_IMAGES} held-out images. Received: "
            f"{len(unseen)}"
        )
    new = _held_out_ids(run, data_dir)
    trained_on = {id: image for id, image in own.items() if id not in new}
    held_out = HeldOutImages(
        **{
            field.name: np.array([image[field.name] for image in unseen.values()])
            for field in dataclasses.fields(HeldOutImages)
        }
    )
    calibration = Calibration.fit(
        held_out,
        scale_of_run=_median_ratio(trained_on, seen, _scale),
        score_of_run=_median_ratio(trained_on, seen, _score),
        weights=digest,
        protocol=_protocol(run, parts, splits[0], unseen),
    )
    run.write_calibration(calibration)
    usable = all(image["usable"] for image in unseen.values())
    _print_radii(run, calibration, own, "mm" if usable else "px", console)
    return calibration


def _located_by_parts(parts, views, splits, console):
    """Each image as located by the part that has not seen it, and by one that has.

    How sure a part is of an image that it has seen tells how much surer of itself the
    run is, which has seen all of them.
    """
    unseen: dict[str, dict[str, Any]] = {}
    seen: dict[str, dict[str, Any]] = {}
    for number, part in enumerate(parts):
        other = (number + 1) % len(parts)
        locator = part.locator(calibration=None, views=views)
        for image in _located(part, locator, [splits[number]], console):
            unseen[image["id"]] = {**image, "fold": number}
        for image in _located(part, locator, [splits[other]], console):
            seen[image["id"]] = image
    return unseen, seen


def _protocol(run, parts, split, unseen):
    recipe = parts[0].recipe
    return {
        "recipe": run.recipe.name,
        "dataset": split.dataset,
        "train_split": recipe.train_split,
        "truth": _truth(recipe),
        "folds": len(parts),
        "n_images": len(unseen),
        "n_groups": len({image["group"] for image in unseen.values()}),
        "steps": run.recipe.steps,
        "fold_steps": recipe.steps,
        "inference": run.inference,
        "fold_inference": parts[0].inference,
        "coverage": COVERAGE,
        "false_alarms": FALSE_ALARMS,
        "scn_keras": __version__,
    }


def _own_folds(run, folds, settings, data_dir, console):
    recipe = dataclasses.replace(run.recipe, fold=None).override(settings)
    path = run.path / "calibration"
    for k, part in enumerate(fold_recipes(recipe, folds)):
        _require_same(run, part, "The settings")
        there = path / f"fold{k}"
        if (there / "recipe.json").is_file() and Run(there).recipe != part:
            raise ValueError(
                f"{there} was trained with other settings, or for another number of "
                f"folds. Give the same ones as then, or remove {path}."
            )
    if recipe.steps < run.recipe.steps:
        console.print(
            f"[yellow]The parts take {recipe.steps} steps and the run took "
            f"{run.recipe.steps}: they are farther off, and radii will be wider than "
            "they need be."
        )
    return list(train_folds(recipe, folds, path, data_dir, console))


def _finished_folds(run: Run, folder: pathlib.Path) -> list[Run]:
    paths = sorted(folder.glob("fold*/recipe.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} is no cross-validation: it holds no fold0. Make one with "
            f"`scn-keras crossval {run.recipe.name} --out {folder}`."
        )
    parts = [Run(path.parent) for path in paths]
    for part in parts:
        _require_same(run, part.recipe, str(part.path))
    held_out = {part.recipe.fold for part in parts}
    counts = {fold and fold[1] for fold in held_out}
    (count,) = counts if len(counts) == 1 else (None,)
    if count is None or held_out != {(k, count) for k in range(count)}:
        raise ValueError(
            f"The runs in {folder} are not all parts of one cross-validation, each "
            "once. Finish it with `scn-keras crossval --resume`. Received: folds "
            f"{[part.recipe.fold for part in parts]}"
        )
    for part in parts:
        part.weights_digest()  # or says that it is not finished
    return parts


def _require_same(run: Run, part: Recipe, what: str) -> None:
    wanted, received = (
        run.recipe.shared_for_calibration(),
        part.shared_for_calibration(),
    )
    unlike = [name for name in wanted if wanted[name] != received[name]]
    if unlike:
        raise ValueError(
            f"{what} cannot calibrate {run.path}: unlike its recipe in "
            f"{', '.join(unlike)}. Only how long and on what schedule folds are "
            "trained may differ."
        )


def _located(
    run: Run,
    locator: Locator,
    splits: Sequence[PreparedSplit],
    console: rich.console.Console,
) -> Iterator[dict[str, Any]]:
    """Yields what a run finds in images, on its grid."""
    recipe, truth = run.recipe, _truth(run.recipe)
    samples = [split.samples() for split in splits]
    whole = functools.reduce(lambda a, b: a.concatenate(b), samples)
    located = progress.track(
        locator.locate(whole),
        f"locate images by {recipe.name}",
        total=sum(int(one.cardinality()) for one in samples),
        console=console,
    )
    for found in located:
        to_source = found["grid_to_source"].astype(np.float64)
        to_grid = invert_affine(to_source)
        usable = bool(has_usable_spacing(found["affine"], NUMPY))
        yield {
            "id": found["id"].decode(),
            "group": found["group"],
            "usable": usable,
            "points": apply_affine(to_grid, found["points_px"]),
            "score": found["score"],
            "covariance": apply_to_covariance(to_grid, found["covariance_px2"]),
            "truth": apply_affine(to_grid, splits[0].true_points(found, truth)),
            "grid_to_space": found["affine"] @ to_source if usable else to_source,
        }


def _held_out_ids(run: Run, data_dir: str | pathlib.Path | None) -> set[str]:
    """What the run itself, or the first member of an ensemble, was not trained on."""
    recipe = run.recipe
    if recipe.fold is None and not recipe.validation:
        return set()
    ids = PreparedSplit(recipe, HELD_OUT, data_dir).samples().map(lambda one: one["id"])
    return {id.decode() for id in ids.as_numpy_iterator()}


def _scale(image):
    inputs = (image[name][None] for name in ("score", "covariance", "grid_to_space"))
    return ops.convert_to_numpy(scale(*inputs))[0]


def _score(image):
    return np.maximum(image["score"], 1e-3)


def _median_ratio(own, seen, value):
    """The median over images of what the run says in terms of what the parts say."""
    return np.median([value(own[id]) / value(seen[id]) for id in own], axis=0)


def _truth(recipe: Recipe) -> str | None:
    return "mean" if recipe.observer == "random" else recipe.observer


def _print_radii(run, calibration, own, unit, console):
    names = run.schema.names
    scales = [_scale(image) for image in own.values()]
    radius = np.mean(scales, axis=0) * calibration.radius_factor
    low, high = radius.argmin(), radius.argmax()
    console.print(
        f"Calibrated on {len(own)} held-out images: nine in ten points lie within "
        f"{radius.mean():.2f} {unit}, from {radius[low]:.2f} ({escape(names[low])}) to "
        f"{radius[high]:.2f} ({escape(names[high])})."
    )
