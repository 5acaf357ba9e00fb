"""Calibration of a run on the images of a folder."""

import dataclasses
import json
import os

import numpy as np
import rich.console

from scn_keras import __version__
from scn_keras.geometry import apply_affine
from scn_keras.inference.calibration import COVERAGE, MIN_IMAGES, Calibration
from scn_keras.metrics.on_arrays import point_distances
from scn_keras.training.adaptation.labelled_images import LabelledImages
from scn_keras.training.adaptation.recalibration import (
    RECALIBRATED,
    recalibrated,
    with_recalibration,
)
from scn_keras.training.run import Run, write_json

# The calibration before that of a folder, which a second one replaces.
BEFORE = "calibration_before_folder.json"


def calibrate_on_folder(
    run: Run,
    folder: str | os.PathLike[str],
    split: str | None = None,
    console: rich.console.Console | None = None,
) -> Calibration:
    """Calibrates a run for the clinic of the images of a folder.

    A calibrated run keeps the calibration of its training images: the radii are
    computed from both, see `recalibrated`. A run without a calibration is calibrated on
    the images of the folder alone, of which it needs nine that it was not trained on.
    A second call with another folder replaces the first.

    Args:
        run: `Run`, finished. Its `calibration.json` is replaced; the one of its
            training images is kept as `calibration_before_folder.json`.
        folder: Path of the images with points, in the layout of `landmark_folder`.
        split: Str, a split that the folder defines; `None` for all images.
        console: `rich.console.Console` for progress and a summary.

    Returns:
        The `Calibration`.

    Raises:
        FileNotFoundError: If the run is not finished or the folder does not exist.
        ValueError: If the folder does not fit the run, or there are too few images.

    Example:

    ```python
    calibrate_on_folder(Run("runs/cephalogram"), "our_films")
    ```
    """
    console = console or rich.console.Console()
    digest = run.weights_digest()
    labelled = LabelledImages.of_folder(run, folder, split, console)
    before = _before(run)
    if before is None:
        calibration = _of_folder_alone(run, labelled, digest)
    else:
        error = point_distances(labelled.truth, _points_with_offsets(run, labelled))
        calibration = recalibrated(
            before,
            labelled.images,
            error,
            labelled.seen,
            digest,
            with_recalibration(before.protocol, "calibrate", labelled),
        )
        write_json(run.path / BEFORE, before.to_dict())
    if (used := run.used_images) is not None:
        calibrated = used.calibrated + labelled.table
        dataclasses.replace(used, calibrated=calibrated).write(run.path)
    run.write_calibration(calibration)
    radius = calibration.radius(
        labelled.images.score, labelled.images.covariance, labelled.images.grid_to_space
    )
    console.print(
        f"Calibrated on {len(labelled.ids)} images of {labelled.dataset}"
        + ("." if before is None else ", together with the calibration before.")
        + f" The mean 90 % radius is {np.mean(radius):.2f} {labelled.unit}.",
        highlight=False,
    )
    return calibration


def _of_folder_alone(run, labelled, digest):
    unseen = labelled.select(~labelled.seen)
    if len(unseen.ids) < MIN_IMAGES:
        raise ValueError(
            f"A run without a calibration needs at least {MIN_IMAGES} images that "
            "it was not trained on. With fewer images, calibrate it on its "
            f"training images first. Received: {len(unseen.ids)} such images in "
            f"{labelled.dataset}"
        )
    return Calibration.fit(
        unseen.images,
        weights=digest,
        protocol={
            "recipe": run.recipe.name,
            "dataset": labelled.dataset,
            **unseen.description(),
            "inference": run.inference,
            "coverage": COVERAGE,
            "scn_keras": __version__,
        },
    )


def _before(run):
    """Returns the calibration of the weights before that of a folder, or `None`."""
    calibration = run.calibration
    # One of a folder alone contains the name of that folder.
    if calibration is None or "folder" in calibration.protocol:
        return None
    entries = calibration.protocol.get(RECALIBRATED, ())
    if not entries or entries[-1]["command"] != "calibrate":
        return calibration
    path = run.path / BEFORE
    if not path.is_file():
        return None
    before = Calibration.from_dict(json.loads(path.read_text("utf-8")))
    return before if before.weights == calibration.weights else None


def _points_with_offsets(run, labelled):
    images = labelled.images
    points = images.points
    if run.offsets is not None:
        points = run.offsets.apply(points, images.score, images.grid_to_space)
    return apply_affine(images.grid_to_space, points)
