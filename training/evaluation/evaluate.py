"""Evaluation of a run with every truth, in one pass over the images."""

import itertools
import pathlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.markup
from rich import progress

from scn_keras import __version__
from scn_keras.geometry import spacing_of
from scn_keras.inference.located_image import LocatedImage
from scn_keras.inference.locator import HasLocalizer, Locator
from scn_keras.inference.presence import MIN_SCORE
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.training.evaluation.evaluated_images import EvaluatedImages
from scn_keras.training.evaluation.evaluation import Evaluation
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.offsets import anatomical_frames, offset_statistics
from scn_keras.training.evaluation.points_table import write_points
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.evaluation.seen_images import UNSEEN, require_unseen
from scn_keras.training.evaluation.statistics import (
    RESAMPLES,
    error_statistics,
    moments,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

MAX_WORST = 5  # images with the largest errors in a result


def evaluate(
    run: Run,
    split: str | None = None,
    observers: Sequence[str] | None = None,
    data_dir: str | pathlib.Path | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
    folder: str | pathlib.Path | None = None,
    with_trained: bool = False,
) -> list[dict[str, Any]]:
    """Evaluates a run on a split and on the subsets that the data set defines in it.

    Every image is read and located once. Its predicted points are compared with every
    truth in pixels of the image, which are converted to millimetres by its affine. An
    image without a usable spacing is reported and excluded. If no image has a usable
    spacing, all images are evaluated in pixels. The keys are then `mre_px` and so on,
    and the `unit` of the protocol is `"px"`. The results are written to the run, to
    `results/SCOPE-OBSERVER.json` for each split or subset and truth
    (`results/SCOPE.json` for data sets with one truth), the points of all images to
    `results/SPLIT-points.csv`.

    Args:
        run: `Run`, finished.
        split: Str, a TFDS split, a subset of the builder, or `"held_out"` for the
            images that the recipe holds out of its training split, the validation
            images; `None` for the recipe's `test_split` or, if the data set has no such
            split, for those. For a folder, a split that the folder defines, or `None`
            for all of its images.
        observers: Sequence of str, the truths: observers of the data set and
            `"mean"`. `None` for all truths.
        data_dir: The folder of prepared data sets.
        batch_size: Int, the number of images per batch.
        console: `rich.console.Console` for the progress bar and remarks.
        folder: A folder of images with points in the form of `landmark_folder`, to use
            instead of the recipe's data set. Its results have the name `folder_NAME`.
        with_trained: Bool, whether images on which the model was trained are permitted.
            They are found under any name, also as another scan or exposure. The results
            on all images are then marked, and those on the others have the name
            `SPLIT_unseen`. In published splits and on the recipe's own training split
            they are always permitted.

    Returns:
        The results of the split, followed by those of its subsets. Each has the keys of
        `error_statistics`, and `protocol` (the conditions of the evaluation), `seconds`
        (for all images), `ids` (of the images), `excluded` (ids of images without a
        usable spacing), `offsets` (the constant part of the errors, see
        `offset_statistics`; empty for a model that is hardly trained) and, for several
        observers, `between_observers` (the distances between their points on the same
        images). For a calibrated run on images other than those of its calibration, a
        result also has `coverage90_percent` (the fraction of points within their
        radius), `radius90_mm` (the mean radius),
        `trusted_percent` (the fraction of trusted images),
        `ci95["coverage90_percent"]`, and `calibration` (its protocol). The first two
        are also given for each landmark. Of a run that is not calibrated, `calibration`
        is `None`.

    Raises:
        FileNotFoundError: If the data set, the folder or the model does not exist.
        ValueError: If the split or an observer is unknown, a subset is incomplete, no
            image can be evaluated, the folder does not fit the run, the model
            predicts points that are not finite, or was trained on some of the images.

    Example:

    ```python
    from scn_keras.training.evaluation.evaluate import evaluate
    from scn_keras.training.evaluation.result_table import print_results
    from scn_keras.training.run import (Run)

    results = evaluate(Run("runs/cephalogram_fast"), split="test1")
    print_results(results, landmarks=True)
    ```
    """
    images = split_of(run, split, data_dir, folder)
    return evaluate_images(
        run, images, observers, batch_size, console, with_trained
    ).results


def evaluate_images(
    run: Run,
    images: PreparedSplit | FolderSplit,
    observers: Sequence[str] | None = None,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
    with_trained: bool = False,
) -> Evaluation:
    """Evaluates a run on images, see `evaluate`, and returns the data of a report."""
    console = console or rich.console.Console()
    if unknown := sorted(set(observers or ()) - set(images.truths)):
        raise ValueError(
            f"The data set {images.dataset!r} has the truths {list(images.truths)}. "
            f"Received: {unknown}"
        )
    if images.name == HELD_OUT:
        console.print(
            "[yellow]Validation: these images were held out of the training split. "
            "They did not choose the weights, which are those of the last step, but "
            "settings may have been chosen with them."
        )
    seen = require_unseen(run, images, with_trained, console)
    locator = locator_for(run, images)
    located, seconds = locate_images(locator, images, run.recipe, batch_size, console)
    scores = np.array([image.score for image in located])
    if np.median(scores) < MIN_SCORE:
        console.print(
            "[yellow]The model is hardly trained: the median of its scores is "
            f"{np.median(scores):.3f}. Trained models have scores above {MIN_SCORE} "
            "for landmarks in the image."
        )
    command = ["scn-keras", "evaluate", str(run.path), *images.arguments]
    results, points = write_results(
        run, images, located, seconds, {"command": command}, observers, seen
    )
    return Evaluation(run, images, results, points, locator)


def split_of(
    run: Run,
    split: str | None = None,
    data_dir: str | pathlib.Path | None = None,
    folder: str | pathlib.Path | None = None,
    left_out: list[str] | None = None,
) -> PreparedSplit | FolderSplit:
    """Returns the images of an evaluation, see `evaluate` and `FolderSplit`."""
    if folder is None:
        used = run.used_images
        held_out = None if used is None else used.held_out
        return PreparedSplit(run.recipe, split, data_dir, held_out)
    dimensions = len(run.recipe.grid)
    return FolderSplit(folder, run.schema, dimensions, split, run.orientation, left_out)


def locator_for(
    run: Run,
    images: EvaluatedImages,
    model: HasLocalizer | None = None,
) -> Locator:
    """Returns the locator of a run for the images of an evaluation.

    It has no calibration for the images from which the calibration was computed, since
    an evaluation of the calibration on these images would be biased.

    Args:
        run: `Run`.
        images: The images to be located.
        model: Replacement for the run's own model, or `None`.
    """
    calibration_splits = HELD_OUT, run.recipe.train_split
    if isinstance(images, PreparedSplit) and images.name in calibration_splits:
        return run.locator(model, calibration=None)
    return run.locator(model)


def locate_images(
    locator: Locator,
    images: EvaluatedImages,
    recipe: Recipe,
    batch_size: int = 4,
    console: rich.console.Console | None = None,
) -> tuple[list[LocatedImage], float]:
    """Locates images and returns them sorted by id, and the time in seconds."""
    console = console or rich.console.Console()
    samples = images.samples()
    if isinstance(images, FolderSplit) and images.absent:
        absent = rich.markup.escape(", ".join(images.absent))
        console.print(f"[yellow]Not evaluated, because they have no points: {absent}.")
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
            f"[yellow]No image of {images.name} has a usable spacing. Errors are in "
            "pixels of the images."
        )
        return located, seconds
    for image in located:
        if not image.calibrated:
            affine = rich.markup.escape(str(image.affine.tolist()))
            id = rich.markup.escape(image.id)
            console.print(
                f"[yellow]Not evaluated: image {id} has no usable spacing "
                f"(affine {affine})."
            )
    return located, seconds


def unit_of(located: Sequence[LocatedImage]) -> str:
    """Returns `"mm"`, or `"px"` if no image has a usable spacing."""
    return "mm" if any(image.calibrated for image in located) else "px"


def write_results(
    run: Run,
    images: PreparedSplit | FolderSplit,
    located: Sequence[LocatedImage],
    seconds: float,
    about: Mapping[str, Any],
    observers: Sequence[str] | None = None,
    seen: Collection[str] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Writes results and points of located images to a run.

    Args:
        run: `Run`.
        images: The split or folder of the images.
        located: Sequence of `LocatedImage`.
        seconds: Float, the time in which they were located.
        about: Mapping, further entries of the protocol.
        observers: Sequence of str, the truths; `None` for all.
        seen: Collection of str, the ids of images from which the weights were computed;
            `None` if they are not known.

    Returns:
        The results, and the points as `read_points` returns them.
    """
    unit = unit_of(located)
    points = write_points(run, images.name, located, images.truths, unit)
    results = []
    scopes = [*images.scopes()]
    unseen = frozenset(image.id for image in located) - frozenset(seen or ())
    if seen and any(image.id in unseen for image in _scored(located, unit)):
        scopes.insert(1, (f"{images.name}{UNSEEN}", unseen))
    for scope, ids in scopes:
        part = [image for image in located if ids is None or image.id in ids]
        if ids is not None and len(part) != len(ids):
            raise ValueError(
                f"The prepared data set does not have all images of the subset "
                f"{scope!r}. Prepare it again. Received: {len(part)} of {len(ids)} "
                "images"
            )
        scored = _scored(part, unit)
        frames = None
        if scored:
            frames = anatomical_frames([image.points(unit) for image in scored])
        for truth in observers or images.truths:
            result = _result(run, images, scope, truth, part, unit, seconds, frames)
            if ids is unseen:
                result["protocol"]["subset_of"] = images.name
            if seen is not None:
                count = sum(image.id in seen for image in part)
                result["protocol"]["trained_on"] = count
            if images.builder.PUBLISHED_SPLITS:
                result["protocol"]["published_splits"] = True
            result["protocol"] |= about
            run.write_result(f"{scope}-{truth}" if truth else scope, result)
            results.append(result)
    return results, points


def _located(outputs, images):
    id = outputs["id"].decode()
    if not np.isfinite(outputs["points_px"]).all():
        raise ValueError(
            "The points of the model are not finite, since its training has diverged. "
            "Train it again with a lower learning rate. Received: points that are not "
            f"finite for image {id}"
        )
    return LocatedImage.from_outputs(
        outputs,
        id,
        outputs["affine"].astype(np.float64),
        group=outputs["group"].decode(),
        truth_px={truth: images.true_points(outputs, truth) for truth in images.truths},
    )


def _scored(located, unit):
    """Returns the images that are evaluated: with a usable spacing, or in pixels."""
    return [image for image in located if unit == "px" or image.calibrated]


def _result(run, images, scope, truth, located, unit, seconds, frames):
    names, builder, recipe = run.schema.names, images.builder, run.recipe
    distances = [image.distances(truth, unit) for image in located]
    numbers = error_statistics(
        np.reshape(distances, (len(located), len(names))),
        names,
        [image.group for image in located],
        unit=unit,
    )
    scored = _scored(located, unit)
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
    elif not run.calibration_path.is_file():
        numbers["calibration"] = None
    numbers["worst_images"] = _worst_images(located, distances, unit)
    # The errors of a model that is hardly trained are not those of the marks.
    numbers["offsets"] = {}
    numbers["median_score"] = None
    if scored:
        numbers["median_score"] = float(np.median([image.score for image in scored]))
    if scored and numbers["median_score"] >= MIN_SCORE:
        numbers["offsets"] = offset_statistics(
            np.stack([image.points(unit) for image in scored]),
            np.stack([image.truth(truth, unit) for image in scored]),
            names,
            [image.group for image in scored],
            unit,
            frames,
        )
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
            _between_observers(pair, located, unit)
            for pair in itertools.combinations(builder.OBSERVERS, 2)
        ]
    return result


def _worst_images(located, distances, unit):
    """Returns id and mean error of the images with the largest mean errors."""
    errors = [
        (float(np.mean(values[present])), image.id)
        for image, values in zip(located, distances, strict=True)
        if (present := ~np.isnan(values)).any()
    ]
    errors.sort(key=lambda pair: (-pair[0], pair[1]))
    return [{"id": id, f"mre_{unit}": mean} for mean, id in errors[:MAX_WORST]]


def _add_coverage(numbers, distances, radii, located, unit):
    """Adds the coverage and the mean of the 90 % radii to error statistics."""
    present = ~np.isnan(distances)
    # A point lies within its radius if the ratio of distance and radius is below 1.
    within = error_statistics(
        distances / radii,
        [row["name"] for row in numbers["per_landmark"]],
        [image.group for image in located],
        radii=(1.0,),
    )
    numbers["ci95"]["coverage90_percent"] = within["ci95"]["sdr_percent"]["1"]
    radii = np.where(present, radii, np.nan)
    for row, part, column in (
        (numbers, within, radii),
        *zip(numbers["per_landmark"], within["per_landmark"], radii.T, strict=True),
    ):
        row["coverage90_percent"] = part["sdr_percent"]["1"]
        column = column[~np.isnan(column)]
        row[f"radius90_{unit}"] = float(column.mean()) if column.size else None


def _between_observers(pair, located, unit):
    first, second = (
        np.stack([image.truth(observer, unit) for image in located])
        for observer in pair
    )
    distances = point_distances(first, second)
    return {"names": list(pair), **moments(distances[~np.isnan(distances)], unit=unit)}
