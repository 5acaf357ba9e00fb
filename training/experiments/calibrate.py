"""Calibration of a run on images that were held out by cross-validation."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.console
from keras import ops
from rich.markup import escape

from scn_keras import __version__
from scn_keras.datasets.identity.image_table import ImageTable, listed
from scn_keras.files.shown_command import shown_command
from scn_keras.inference.calibration import (
    COVERAGE,
    FALSE_ALARMS,
    MIN_IMAGES,
    Calibration,
    scale,
)
from scn_keras.inference.held_out_images import HeldOutImages
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.located_on_grid import (
    located_on_grid,
    trained_truth,
)
from scn_keras.training.evaluation.prepared_split import HELD_OUT
from scn_keras.training.evaluation.seen_images import seen_images
from scn_keras.training.evaluation.trained_ratio import TRAINED_RATIO, trained_ratio
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
    """Calibrates the errors, scores and shapes of a run.

    Every training image is located by a run of the same recipe from whose training it
    was held out. The `Calibration` is computed from the errors, scores and shapes and
    written to the run. An interrupted calibration continues.

    Args:
        run: `Run`, finished.
        folds: Int, the number of parts into which the patients are divided. The runs of
            the folds are trained in the folder `calibration/` of the run.
        crossval: The folder of a finished cross-validation of the same recipe, whose
            runs are used instead.
        settings: Sequence of `key=value`, changes of the recipe for the folds. For
            example, `steps=2000` takes less time, but less trained runs have larger
            errors, so that the radii become larger than necessary.
        data_dir: The folder of prepared data sets.
        console: `rich.console.Console` for progress and a summary.

    Returns:
        The `Calibration`.

    Raises:
        FileNotFoundError: If the run or a fold of the cross-validation is not finished,
            or the data set does not exist.
        ValueError: If the folds have another recipe than the run, there are too few
            images, the models are hardly trained, or the run is adapted.

    Example:

    ```python
    calibrate(Run("runs/cephalogram_fast"), crossval="runs/cephalogram_fast_4fold")
    ```
    """
    console = console or rich.console.Console()
    _require_no_offsets(run)
    digest = run.weights_digest()
    own = _own_images(run, data_dir, console)
    if crossval is not None:
        if settings:
            raise ValueError(
                "The runs of a cross-validation are already trained. Omit `settings`. "
                f"Received: settings={list(settings)}, crossval={str(crossval)!r}"
            )
        parts = _finished_folds(run, pathlib.Path(crossval))
    else:
        parts = _own_folds(run, folds, settings, data_dir, console)
    splits = [split_of(part, HELD_OUT, data_dir) for part in parts]
    unseen, seen = _located_by_parts(parts, run.views, splits, console)
    _leave_out_repeats(unseen, parts, splits, console)
    _require_number(unseen)
    _require_trained(parts[0].recipe, [*unseen.values()])
    held_out_ids = _held_out_ids(run, data_dir)
    trained_on = {id: image for id, image in own.items() if id not in held_out_ids}
    calibration = Calibration.fit(
        HeldOutImages.stack([*unseen.values()]),
        scale_of_run=_median_ratio(trained_on, seen, _scale),
        score_of_run=_median_ratio(trained_on, seen, _score),
        weights=digest,
        protocol=_protocol(run, parts, splits[0], unseen),
    )
    calibration = _with_trained_ratio(calibration, trained_on.values())
    _record_images(run, [split.table().select(unseen) for split in splits])
    run.write_calibration(calibration)
    _print_radii(run, calibration, own, len(unseen), console)
    return calibration


def _require_no_offsets(run):
    if run.offsets is not None:
        raise ValueError(
            "An adapted run has offsets, which the models of folds do not have. "
            "Calibrate the run from which it was made and adapt it again, or calibrate "
            f"this one on images of the clinic with --folder. Received: {run.path}"
        )


def _own_images(run, data_dir, console):
    """Returns the training images located by the run, unless it is hardly trained."""
    splits = [split_of(run, run.recipe.train_split, data_dir)]
    locator = run.locator(calibration=None)
    own = {
        image["id"]: image
        for image in located_on_grid(run.recipe, locator, splits, console)
    }
    # Before the folds are trained, which may take hours.
    _require_trained(run.recipe, [*own.values()], "training images")
    return own


def _located_by_parts(parts, views, splits, console):
    """Returns each image located by the run that held it out, and by one that did not.

    The scores and peak widths of the latter are compared with those of the calibrated
    run, which was trained with all images.
    """
    unseen: dict[str, dict[str, Any]] = {}
    seen: dict[str, dict[str, Any]] = {}
    for number, part in enumerate(parts):
        other = (number + 1) % len(parts)
        locator = part.locator(calibration=None, views=views)
        for image in located_on_grid(part.recipe, locator, [splits[number]], console):
            unseen[image["id"]] = {**image, "fold": number}
        for image in located_on_grid(part.recipe, locator, [splits[other]], console):
            seen[image["id"]] = image
    return unseen, seen


def _with_trained_ratio(calibration, images):
    """Adds how errors on images of the training compare with radii, for `adapt`."""
    ratio = trained_ratio(calibration, HeldOutImages.stack(images, fold=0))
    protocol = {**calibration.protocol, TRAINED_RATIO: round(ratio, 4)}
    return dataclasses.replace(calibration, protocol=protocol)


def _record_images(run: Run, tables: Sequence[ImageTable]) -> None:
    if (used := run.used_images) is not None:
        calibrated = sum(tables, start=ImageTable())
        dataclasses.replace(used, calibrated=calibrated).write(run.path)


def _leave_out_repeats(unseen, parts, splits, console):
    """Removes held-out images on which the run of their fold was trained, too.

    They are other scans, or the same one under another id, of a training image.
    """
    repeats = []
    for part, split in zip(parts, splits, strict=True):
        repeats += seen_images(part, split.table()) or []
    for repeat in repeats:
        unseen.pop(repeat.id, None)
    if repeats:
        console.print(
            f"[yellow]Left out of the calibration, because they are in two folds under "
            f"two names: {escape(listed(repeats))}. Give the images of one patient the "
            "same patient in the data set.",
            highlight=False,
        )


def _require_number(unseen):
    if len(unseen) < MIN_IMAGES:
        raise ValueError(
            f"A calibration requires at least {MIN_IMAGES} held-out images. Received: "
            f"{len(unseen)} images"
        )


def _require_trained(
    recipe: Recipe, images: Sequence[dict[str, Any]], which: str = "held-out images"
) -> None:
    """Raises a ValueError if models find landmarks no better than a constant guess.

    Their radii would be as large as the image, and all images would be trusted.
    """
    truth = np.array([image["truth"] for image in images])
    points = np.array([image["points"] for image in images])
    known = ~np.isnan(truth).any(-1)
    mean = np.nansum(truth, axis=0) / np.maximum(known.sum(0), 1)[:, None]
    of_model = np.median(np.linalg.norm(points - truth, axis=-1)[known])
    of_mean = np.median(np.linalg.norm(mean - truth, axis=-1)[known])
    if not of_model < of_mean:
        raise ValueError(
            f"The models are hardly trained and cannot be calibrated: after "
            f"{recipe.steps} steps, their median error on {which} is not below "
            "that of the mean position of each landmark. Train the run longer, and the "
            f"folds as long. Received: errors of {of_model:.1f} and {of_mean:.1f} "
            "pixels of the grid"
        )


def _protocol(run, parts, split, unseen):
    recipe = parts[0].recipe
    return {
        "recipe": run.recipe.name,
        "dataset": split.dataset,
        "train_split": recipe.train_split,
        "truth": trained_truth(recipe),
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
        folder = path / f"fold{k}"
        if (folder / "recipe.json").is_file() and Run(folder).recipe != part:
            raise ValueError(
                f"{folder} was trained with other settings or with another number of "
                f"folds. Use the same settings, or remove {path}."
            )
    if recipe.steps < run.recipe.steps:
        console.print(
            f"[yellow]The folds are trained with {recipe.steps} steps, the run with "
            f"{run.recipe.steps}. Their errors are larger, so that the radii become "
            "larger than necessary."
        )
    return list(train_folds(recipe, folds, path, data_dir, console))


def _finished_folds(run: Run, folder: pathlib.Path) -> list[Run]:
    paths = sorted(folder.glob("fold*/recipe.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} is not a cross-validation, since it has no fold0. Create one "
            f"with {shown_command('crossval', run.path, '--out', folder)}."
        )
    parts = [Run(path.parent) for path in paths]
    for part in parts:
        _require_same(run, part.recipe, str(part.path))
    held_out = {part.recipe.fold for part in parts}
    counts = {fold and fold[1] for fold in held_out}
    (count,) = counts if len(counts) == 1 else (None,)
    if count is None or held_out != {(k, count) for k in range(count)}:
        raise ValueError(
            f"The runs in {folder} are not a complete cross-validation with each fold "
            "once. Finish it with the command that started it and --resume. Received: "
            f"folds {[part.recipe.fold for part in parts]}"
        )
    for part in parts:
        part.weights_digest()  # raises an error if it is not finished
    return parts


def _require_same(run: Run, part: Recipe, what: str) -> None:
    expected, received = (
        run.recipe.shared_for_calibration(),
        part.shared_for_calibration(),
    )
    differing = [name for name in expected if expected[name] != received[name]]
    if differing:
        raise ValueError(
            f"{what} cannot calibrate {run.path}, because the recipes differ. Only "
            "the duration and the schedule of the training may differ. Received other "
            f"values of: {', '.join(differing)}"
        )


def _held_out_ids(run: Run, data_dir: str | pathlib.Path | None) -> set[str]:
    """Returns the images held out of the run or of the first member of an ensemble."""
    recipe = run.recipe
    if recipe.fold is None and not recipe.validation:
        return set()
    return {*split_of(run, HELD_OUT, data_dir).table().ids}


def _scale(image):
    inputs = (image[name][None] for name in ("score", "covariance", "grid_to_space"))
    return ops.convert_to_numpy(scale(*inputs))[0]


def _score(image):
    return np.maximum(image["score"], 1e-3)


def _median_ratio(own, seen, value):
    """Returns the median over images of the ratio of the run's to the folds' values."""
    return np.median([value(own[id]) / value(seen[id]) for id in own], axis=0)


def _print_radii(run, calibration, own, number, console):
    names = run.schema.names
    unit = "mm" if all(image["usable"] for image in own.values()) else "px"
    scales = [_scale(image) for image in own.values()]
    radius = np.mean(scales, axis=0) * calibration.radius_factor
    low, high = radius.argmin(), radius.argmax()
    console.print(
        f"Calibrated on {number} held-out images. The mean 90 % radius is "
        f"{radius.mean():.2f} {unit}, from {radius[low]:.2f} ({escape(names[low])}) to "
        f"{radius[high]:.2f} ({escape(names[high])})."
    )
