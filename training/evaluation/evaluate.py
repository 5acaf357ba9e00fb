"""Scores a run against every truth, in one pass over the images."""

import itertools
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.markup
from rich import progress

from scn_keras import __version__
from scn_keras.geometry import spacing_of
from scn_keras.inference.located_image import LocatedImage
from scn_keras.inference.locator import HasLocalizer, Locator
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.training.evaluation.evaluation import Evaluation
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.points_table import write_points
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.evaluation.statistics import (
    RESAMPLES,
    error_statistics,
    moments,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def evaluate(
    run: Run,
    split: str | None = None,
    observers: Sequence[str] | None = None,
    data_dir: str | pathlib.Path | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
    folder: str | pathlib.Path | None = None,
) -> list[dict[str, Any]]:
    """Scores a run on a split, and on the subsets that the data set names in it.

    Every image is read and located once; its points are compared with every truth,
    in the image's own pixels, brought to millimetres by its affine. An image whose
    affine has no usable spacing is named and not scored. Where no image has one, all
    are scored in their pixels: the keys are then `mre_px` and so on, and the
    protocol's `unit` is `"px"`. Writes into the run `results/SCOPE-OBSERVER.json` for
    each split or subset and truth (`results/SCOPE.json` where the set has one truth)
    and every point to `results/SPLIT-points.csv`.

    Args:
        run: `Run`, its training ended.
        split: Str, a TFDS split, a subset of the builder, or `"held_out"` for the
            images that the recipe holds out of its training split; `None` for the
            recipe's `test_split`. Of a folder, a split that it says, or `None` for all
            of its images.
        observers: Sequence of str, the truths: observers of the data set and
            `"mean"`. `None` for all of them.
        data_dir: Where prepared data sets lie.
        batch_size: Int.
        console: `rich.console.Console` for the progress bar and remarks.
        folder: A folder of images with points, read as `landmark_folder` reads it, in
            place of the recipe's data set. Its results are filed under
            `folder_NAME`.

    Returns:
        The results, the split's before its subsets'. Each has the keys of
        `error_statistics`, and `protocol` (what the numbers mean), `seconds` (of
        the whole pass), `ids` (of the images), `excluded` (ids of images without
        usable spacing) and, where there are several observers, `between_observers`
        (how far those are from each other on the same images). Of a calibrated run,
        on other images than its calibration was learned on, also
        `coverage90_percent` (of the points that lie within their radius),
        `radius90_mm` (the mean of the radii), `trusted_percent` (of the images),
        `ci95["coverage90_percent"]`, the first two for each landmark too, and
        `calibration`, where it comes from.

    Raises:
        FileNotFoundError: If data set, folder or model are not there.
        ValueError: If split or observer are not known, a subset is incomplete, no
            image can be scored, a folder does not fit the run, or the model gives
            points that are not numbers.

    Example:

    ```python
    from scn_keras.training.evaluation.evaluate import evaluate
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.run import (Run)

    results = evaluate(Run("runs/cephalogram_fast"), split="test1")
    print_results(results, landmarks=True)
    ```
    """
    evaluation = evaluate_images(
        run, split_of(run, split, data_dir, folder), observers, batch_size, console
    )
    return evaluation.results


def evaluate_images(
    run: Run,
    images: PreparedSplit | FolderSplit,
    observers: Sequence[str] | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
) -> Evaluation:
    """Scores a run on images, see `evaluate`, and keeps what a report needs."""
    console = console or rich.console.Console()
    if unknown := sorted(set(observers or ()) - set(images.truths)):
        raise ValueError(
            f"The data set {images.dataset!r} has the truths {list(images.truths)}. "
            f"Received: {unknown}"
        )
    locator = locator_for(run, images)
    located, seconds = locate_images(locator, images, run.recipe, batch_size, console)
    command = ["scn-keras", "evaluate", str(run.path), *images.arguments]
    results, points = write_results(
        run, images, located, seconds, {"command": command}, observers
    )
    return Evaluation(run, images, results, points, locator)


def split_of(
    run: Run,
    split: str | None = None,
    data_dir: str | pathlib.Path | None = None,
    folder: str | pathlib.Path | None = None,
) -> PreparedSplit | FolderSplit:
    """Returns the images that a run is scored on, see `evaluate`."""
    if folder is None:
        return PreparedSplit(run.recipe, split, data_dir)
    return FolderSplit(folder, run.schema, len(run.recipe.grid), split)


def locator_for(
    run: Run,
    images: PreparedSplit | FolderSplit,
    model: HasLocalizer | None = None,
) -> Locator:
    """Returns what locates images as a run does.

    Without its calibration on the images that the calibration was learned on: it cannot
    be wrong there.

    Args:
        run: `Run`.
        images: The images that are to be located.
        model: What stands in for the run's own model.
    """
    learned_on = HELD_OUT, run.recipe.train_split
    if isinstance(images, PreparedSplit) and images.name in learned_on:
        return run.locator(model, calibration=None)
    return run.locator(model)


def locate_images(
    locator: Locator,
    images: PreparedSplit | FolderSplit,
    recipe: Recipe,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
) -> tuple[list[LocatedImage], float]:
    """Finds the points of images, in the order of their ids, and takes the time."""
    console = console or rich.console.Console()
    samples = images.samples()
    if isinstance(images, FolderSplit) and images.absent:
        absent = rich.markup.escape(", ".join(images.absent))
        console.print(f"[yellow]Not scored: landmarks without any point: {absent}.")
    started = time.monotonic()
    outputs = progress.track(
        locator.locate(samples, batch_size),
        f"evaluate {recipe.name} on {images.name}",
        total=int(samples.cardinality()),
        console=console,
    )
    located = [_located(image_outputs, images) for image_outputs in outputs]
    located.sort(key=lambda image: image.id)
    seconds = time.monotonic() - started
    if unit_of(located) == "px":
        console.print(
            f"[yellow]No image of {images.name} has a usable spacing: errors are in "
            "pixels of the images."
        )
        return located, seconds
    for image in located:
        if not image.calibrated:
            affine = rich.markup.escape(str(image.affine.tolist()))
            console.print(
                f"[yellow]Not scored: image {image.id} has no usable spacing (affine "
                f"{affine})."
            )
    return located, seconds


def unit_of(located: Sequence[LocatedImage]) -> str:
    """Returns `"mm"`, or `"px"` where no image has a usable spacing."""
    return "mm" if any(image.calibrated for image in located) else "px"


def write_results(
    run: Run,
    images: PreparedSplit | FolderSplit,
    located: Sequence[LocatedImage],
    seconds: float,
    about: Mapping[str, Any],
    observers: Sequence[str] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Writes results and points of located images into a run.

    Args:
        run: `Run`.
        images: The split or folder of the images.
        located: Sequence of `LocatedImage`.
        seconds: Float, how long it took to locate them.
        about: Mapping, further entries of the protocol.
        observers: Sequence of str, the truths; `None` for all.

    Returns:
        The results, and the points as `read_points` returns them.
    """
    unit = unit_of(located)
    points = write_points(run, images.name, located, images.truths, unit)
    results = []
    for scope, ids in images.scopes():
        part = [image for image in located if ids is None or image.id in ids]
        if ids is not None and len(part) != len(ids):
            raise ValueError(
                f"The subset {scope!r} is {len(ids)} images, of which the prepared "
                f"data set has {len(part)}. Prepare it again."
            )
        for truth in observers or images.truths:
            result = _result(run, images, scope, truth, part, unit, seconds)
            result["protocol"] |= about
            run.write_result(f"{scope}-{truth}" if truth else scope, result)
            results.append(result)
    return results, points


def _located(outputs, images):
    id = outputs["id"].decode()
    if not np.isfinite(outputs["points_px"]).all():
        raise ValueError(
            f"The model gives points that are not numbers for image {id}: its training "
            "has diverged. Train it again with a lower learning rate."
        )
    return LocatedImage.from_outputs(
        outputs,
        id,
        outputs["affine"].astype(np.float64),
        group=outputs["group"].decode(),
        truth_px={truth: images.true_points(outputs, truth) for truth in images.truths},
    )


def _result(run, images, scope, truth, located, unit, seconds):
    names, builder, recipe = run.schema.names, images.builder, run.recipe
    distances = [image.distances(truth, unit) for image in located]
    numbers = error_statistics(
        np.reshape(distances, (len(located), len(names))),
        names,
        [image.group for image in located],
        unit=unit,
    )
    scored = [image for image in located if unit == "px" or image.calibrated]
    if all(image.trusted is not None for image in scored):
        radii = [
            np.full(len(names), np.nan)
            if image.radius90(unit) is None
            else image.radius90(unit)
            for image in located
        ]
        _add_coverage(numbers, np.array(distances), np.array(radii), located, unit)
        numbers["trusted_percent"] = 100.0 * float(
            np.mean([image.trusted for image in scored])
        )
        numbers["calibration"] = dict(run.calibration.protocol)
    excluded = [image for image in located if unit == "mm" and not image.calibrated]
    spacings = [spacing_of(image.affine) for image in scored]
    protocol = {
        "dataset": images.dataset,
        "split": scope,
        "subset_of": builder.SUBSETS.get(scope, (None, None))[0],
        "n_images": numbers["n_images"],
        "truth": truth,
        "unit": unit,
        "training_observer": recipe.observer,
        "train_split": recipe.train_split,
        "validation": recipe.validation if recipe.fold is None else None,
        "fold": recipe.fold and list(recipe.fold),
        "spacing": builder.SPACING_RULE if unit == "mm" else "none: no image has one",
        "spacing_mm": (
            [float(np.min(spacings)), float(np.max(spacings))] if unit == "mm" else None
        ),
        "inequality": "<",
        "pooling": "all points of all images; sd of the population",
        "interval": f"bootstrap of patients, {RESAMPLES} resamples, percentiles",
        "decoder": recipe.peak,
        "grid": list(recipe.grid),
        "inference": run.inference,
        "run": str(run.path),
        "recipe": recipe.name,
        "start": recipe.start,
        "steps": recipe.steps,
        "seed": recipe.seed,
        "scn_keras": __version__,
    }
    result = {"protocol": protocol, **numbers, "seconds": round(seconds, 2)}
    result["ids"] = [image.id for image in scored]
    result["excluded"] = [image.id for image in excluded]
    if builder.OBSERVERS:
        result["between_observers"] = [
            _apart(pair, located, unit)
            for pair in itertools.combinations(builder.OBSERVERS, 2)
        ]
    return result


def _add_coverage(numbers, distances, radii, located, unit):
    """Adds to error statistics how many points lie within their radii."""
    there = ~np.isnan(distances)
    # Within its radius is nearer than one radius.
    within = error_statistics(
        distances / radii,
        [row["name"] for row in numbers["per_landmark"]],
        [image.group for image in located],
        radii=(1.0,),
    )
    numbers["ci95"]["coverage90_percent"] = within["ci95"]["sdr_percent"]["1"]
    radii = np.where(there, radii, np.nan)
    for row, part, column in (
        (numbers, within, radii),
        *zip(numbers["per_landmark"], within["per_landmark"], radii.T, strict=True),
    ):
        row["coverage90_percent"] = part["sdr_percent"]["1"]
        column = column[~np.isnan(column)]
        row[f"radius90_{unit}"] = float(column.mean()) if column.size else None


def _apart(pair, located, unit):
    first, second = (
        np.stack([image.truth(observer, unit) for image in located])
        for observer in pair
    )
    distances = point_distances(first, second)
    return {"names": list(pair), **moments(distances[~np.isnan(distances)], unit=unit)}
