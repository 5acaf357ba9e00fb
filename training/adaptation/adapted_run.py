"""The folder of an adapted run."""

import dataclasses
import json
import pathlib
import shutil

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.files.shown_command import shown_command
from scn_keras.inference.calibration import Calibration
from scn_keras.inference.point_offsets import PointOffsets
from scn_keras.training._run_files import OFFSETS_FILE
from scn_keras.training.run import Run, write_json
from scn_keras.training.used_images import UsedImages

# The calibration of the run without offsets, for `remove_offsets`.
CALIBRATION_BEFORE = "calibration_before.json"


def write_adapted_run(
    run: Run,
    path: pathlib.Path,
    offsets: PointOffsets,
    calibration: Calibration | None,
    used: UsedImages | None,
) -> Run:
    """Writes a run with the model of another one and with offsets.

    Args:
        run: `Run` or preset, with or without offsets, which are replaced.
        path: Path of the folder of the new run.
        offsets: `PointOffsets`.
        calibration: `Calibration` of the new run, or `None`. Its `weights` are set.
        used: `UsedImages` of the new run, or `None`.

    Returns:
        The new `Run`.

    Raises:
        FileExistsError: If the folder is not empty.
    """
    recipe = dataclasses.replace(run.recipe, name=path.name)
    model = run.load_model()
    adapted = Run.create(path, recipe, run.schema, run.data, run.orientation)
    try:
        for name in ("inference.json", "shape.json", "history.csv"):
            if (run.path / name).is_file():
                shutil.copy(run.path / name, path / name)
        if recipe.coarse is not None:
            shutil.copytree(
                run.path / "coarse",
                path / "coarse",
                ignore=shutil.ignore_patterns("checkpoints"),
            )
        if used is not None:
            used.write(path)
        if recipe.uses_network:
            adapted.save_model(model)
        else:
            shutil.copy(run.model_path, adapted.model_path)
        before = calibration_before(run)
        if before is not None:
            digest = adapted.weights_digest()
            before = dataclasses.replace(before, weights=digest)
            write_json(path / CALIBRATION_BEFORE, before.to_dict())
        write_json(path / OFFSETS_FILE, offsets.to_dict())
        if calibration is not None:
            digest = adapted.weights_digest()
            calibration = dataclasses.replace(calibration, weights=digest)
            adapted.write_calibration(calibration)
        else:
            adapted.update_model_file()
    except BaseException:
        shutil.rmtree(path)
        raise
    return adapted


def calibration_before(run: Run) -> Calibration | None:
    """Returns the calibration of a run without offsets, or `None`."""
    path = run.path / CALIBRATION_BEFORE
    if not path.is_file():
        return run.calibration if run.offsets is None else None
    return Calibration.from_dict(json.loads(path.read_text("utf-8")))


def remove_offsets(run: Run) -> None:
    """Makes an adapted run the run that it was before, with its calibration.

    Raises:
        ValueError: If the run has no offsets.
    """
    if run.offsets is None:
        raise ValueError(
            "Only an adapted run can be undone. A run that was adapted to a new folder "
            f"is unchanged. Received: {run.path} without {OFFSETS_FILE}. Adapt it with "
            f"{shown_command('adapt', run.path, '--folder', 'FOLDER')}"
        )
    before = calibration_before(run)
    if (used := run.used_images) is not None:
        dataclasses.replace(used, adapted=ImageTable()).write(run.path)
    (run.path / OFFSETS_FILE).unlink()
    (run.path / CALIBRATION_BEFORE).unlink(missing_ok=True)
    if before is None:
        run.calibration_path.unlink(missing_ok=True)
        run.update_model_file()
    else:
        run.write_calibration(before)
