"""Prediction of landmarks in image files, with a run or with an exported model."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from rich import progress
from rich.console import Console

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import preset_names, preset_path
from scn_keras.saved_models.predicting.file_locators import (
    ExportFileLocator,
    RunFileLocator,
)
from scn_keras.saved_models.predicting.folder_spacing import read_source
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    find_files,
)
from scn_keras.saved_models.predicting.prediction import Prediction, prediction_of
from scn_keras.training.latest_model import latest_model
from scn_keras.training.run import Run


def predict(
    model: str | pathlib.Path,
    files: Sequence[str | pathlib.Path],
    spacing: tuple[float, float] | None = None,
    console: Console | None = None,
) -> tuple[list[Prediction], list[str]]:
    """Localises the landmarks in image files.

    PNG, JPEG and BMP files are decoded by the model's graph. All other formats,
    including volumes and folders of DICOM slices, are read with SimpleITK, with their
    spacing, origin and direction.

    Args:
        model: The name of a preset; the folder of a preset, of a run or of a version of
            an exported model; or the file `model.keras` of a run. Of an unfinished run,
            the last checkpoint is used, which each prediction notes.
        files: Image files and folders. All images in a folder and its subfolders are
            used. A folder with the slices of one DICOM series is one image.
        spacing: Millimetres per pixel, x and y, for 2D files without a spacing. By
            default, it is that of `landmarks.toml` beside the images, if there is one.
        console: `rich.console.Console` for a progress bar, or `None`.

    Returns:
        The predictions in the order of the files, and a message for each file that
        could not be read.

    Raises:
        FileNotFoundError: If `model` is none of these.
        ValueError: If `model` is a file without a recipe.
    """
    paths, problems = find_files(files)
    with model_folder(model) as folder:
        file_locator, notes = _file_locator(folder, problems)

        def readable() -> Iterator[ImageSource]:
            for path in paths:
                try:
                    yield read_source(
                        path,
                        spacing,
                        file_locator.image_to_grid.dimensions,
                        file_locator.image_to_grid.uses_stored_values,
                        orientation=file_locator.orientation,
                    )
                except (ValueError, OSError) as error:
                    problems.append(str(error))

        located = progress.track(
            file_locator.locate(readable()),
            "predict",
            total=len(paths),
            console=console,
            disable=console is None,
        )
        return [
            prediction_of(
                source._replace(notes=(*source.notes, *notes)),
                outputs,
                file_locator.calibration_source,
            )
            for source, outputs in located
        ], problems


def schema_of(model: str | pathlib.Path) -> LandmarkSchema:
    """Returns the landmarks of a model, see `predict`."""
    with model_folder(model) as folder:
        for name in ("landmarks.json", "assets.extra/landmarks.json"):
            if (folder / name).is_file():
                return LandmarkSchema.from_dict(
                    json.loads((folder / name).read_text("utf-8"))
                )
        raise FileNotFoundError(_neither(folder))


@contextlib.contextmanager
def model_folder(model: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the folder of a model, which is temporary for a model file.

    Args:
        model: As in `predict`.
    """
    path = preset_path(model)
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Run.from_file(path, folder).path


def _file_locator(
    model: pathlib.Path, problems: list[str]
) -> tuple["RunFileLocator | ExportFileLocator", tuple[str, ...]]:
    """Returns the locator of a model, and notes on the model for each prediction."""
    if (model / "recipe.json").is_file():
        run = Run(model)
        trained, note = latest_model(run)
        notes = () if note is None else (note,)
        locator = RunFileLocator(run.locator(trained), problems, run.orientation)
        return locator, notes
    if (model / "saved_model.pb").is_file():
        return ExportFileLocator(model, problems), ()
    raise FileNotFoundError(_neither(model))


def _neither(model: pathlib.Path) -> str:
    message = (
        f"{model} is neither a run (recipe.json) nor an exported model "
        "(saved_model.pb), a .keras file of a run or a preset "
        f"({', '.join(preset_names())})."
    )
    versions = sorted(model.glob("*/saved_model.pb"))
    if versions:
        message += f" Did you mean {versions[-1].parent}?"
    return message
