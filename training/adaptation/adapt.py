"""Adaptation of a run to the marks of another clinic."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import rich.console
import rich.table
from rich.markup import escape

from scn_keras import __version__
from scn_keras.inference.calibration import Calibration
from scn_keras.models import preset_path
from scn_keras.training.adaptation.adapted_run import (
    calibration_before,
    write_adapted_run,
)
from scn_keras.training.adaptation.labelled_images import LabelledImages
from scn_keras.training.adaptation.offset_model import FittedOffsets, fit_offsets
from scn_keras.training.adaptation.recalibration import (
    recalibrated,
    with_recalibration,
)
from scn_keras.training.evaluation.offsets import direction
from scn_keras.training.run import Run
from scn_keras.training.used_images import UsedImages

# Landmarks with a smaller probability of an offset are not named.
_NAMED = 0.9


def adapt(
    run: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    split: str | None = None,
    console: rich.console.Console | None = None,
) -> Run:
    """Makes a run whose points follow the marks of another clinic.

    Observers of another clinic place some landmarks elsewhere. From about 3 to 20 of
    their images, the constant offset of each landmark is estimated, in a frame that
    turns and scales with the anatomy, and shrunk: a landmark without evidence of an
    offset stays where it is. The offsets become part of the new run, of its exports and
    presets. The weights are those of the old one.

    If the run is calibrated, the new one is as well: radii are computed from the errors
    on the images, with offsets of the other patients, together with the calibration
    before; scores and the limit of the novelty are moved towards the images.

    Args:
        run: Path of a run, or the name or path of a preset.
        folder: Path of the images with points, in the layout of `landmark_folder`.
        out: Path of the folder of the new run.
        split: Str, a split that the folder defines; `None` for all images.
        console: `rich.console.Console` for progress and a summary.

    Returns:
        The new `Run`.

    Raises:
        FileExistsError: If `out` exists and is not empty.
        FileNotFoundError: If the run is not finished or the folder does not exist.
        ValueError: If the folder does not fit the run or has fewer than three patients.

    Example:

    ```python
    run = adapt("cephalogram", "our_films", "runs/our_cephalogram")
    ```
    """
    console = console or rich.console.Console()
    source = Run(preset_path(run))
    path = pathlib.Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(
            f"The adapted run needs a new folder. Received: out={str(path)!r}, which "
            "exists and is not empty"
        )
    if source.offsets is not None:
        console.print(
            "[yellow]The run has been adapted before. The new offsets replace those "
            "before."
        )
    labelled = LabelledImages.of_folder(source, folder, split, console)
    before = calibration_before(source)
    fitted = fit_offsets(labelled, before)
    protocol = _protocol(source, labelled, fitted)
    calibration = None
    if before is not None:
        calibration = recalibrated(
            before,
            labelled.images,
            fitted.after,
            labelled.seen,
            "",
            with_recalibration(before.protocol, "adapt", labelled),
        )
    offsets = dataclasses.replace(fitted.offsets, protocol=protocol)
    used = _used_images(source, labelled)
    adapted = write_adapted_run(source, path, offsets, calibration, used)
    _print(adapted, labelled, fitted, before, calibration, console)
    return adapted


def _protocol(
    source: Run, labelled: LabelledImages, fitted: FittedOffsets
) -> dict[str, Any]:
    """Returns where offsets come from and what they change, for JSON."""
    return {
        **labelled.description(),
        "from": source.path.name,
        "unit": labelled.unit,
        "mre_before": float(np.nanmean(fitted.before)),
        "mre_crossvalidated": float(np.nanmean(fitted.after)),
        "scn_keras": __version__,
    }


def _used_images(source: Run, labelled: LabelledImages) -> UsedImages | None:
    used = source.used_images
    return None if used is None else dataclasses.replace(used, adapted=labelled.table)


def _print(
    run: Run,
    labelled: LabelledImages,
    fitted: FittedOffsets,
    before: Calibration | None,
    calibration: Calibration | None,
    console: rich.console.Console,
) -> None:
    unit, offsets = labelled.unit, fitted.offsets.offsets
    length = np.linalg.norm(offsets, axis=1)
    named = np.flatnonzero(fitted.estimate.evidence > _NAMED)
    if len(named):
        table = rich.table.Table(title="Marked elsewhere in these images")
        table.add_column("landmark")
        for header in (f"offset, {unit}", "before", "after"):
            table.add_column(header, justify="right")
        table.add_column("direction")
        for k in named[np.argsort(-length[named])]:
            table.add_row(
                escape(run.schema.names[k]),
                f"{length[k]:.2f}",
                f"{np.nanmean(fitted.before[:, k]):.2f}",
                f"{np.nanmean(fitted.after[:, k]):.2f}",
                direction(offsets[k]),
            )
        console.print(table)
        console.print(
            f"before, after: mean errors of the landmark in {unit}; after with offsets "
            "from the other patients."
        )
    rest = len(length) - len(named)
    console.print(
        f"Of {len(length)} landmarks, {rest} stay within "
        f"{np.delete(length, named).max(initial=0.0):.2f} {unit}. Mean error on "
        f"these {len(labelled.ids)} images: {np.nanmean(fitted.before):.2f} {unit} "
        f"before, {np.nanmean(fitted.after):.2f} {unit} with offsets from the other "
        "patients.",
        highlight=False,
    )
    if before is None or calibration is None:
        console.print(
            "The run is not calibrated: there are no radii, before as after. Calibrate "
            "the run before it is adapted."
        )
        return
    change = np.median(calibration.radius_factor / before.radius_factor)
    console.print(f"Radii: the median is {change:.2f} times that before.")
