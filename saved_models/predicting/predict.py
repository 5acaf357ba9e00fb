"""Finds landmarks in files, with a run or with an exported model."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from rich import progress
from rich.console import Console

from scn_keras.inference import decode
from scn_keras.inference.locator import Locator, locate
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import preset_names, preset_path
from scn_keras.saved_models.exporting.export import beside
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    call_of,
    find_files,
    read_image_source,
)
from scn_keras.saved_models.predicting.prediction import Prediction
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def predict(
    model: str | pathlib.Path,
    files: Sequence[str | pathlib.Path],
    spacing: tuple[float, float] | None = None,
    console: Console | None = None,
) -> tuple[list[Prediction], list[str]]:
    """Finds the landmarks in image files.

    PNG, JPEG and BMP are decoded by the model's own graph; every other format, volumes
    and folders of DICOM slices too, is read with SimpleITK, its spacing, origin and
    direction with it.

    Args:
        model: The name of a preset; the folder of one, of a run, or of an exported
            model's version; or a run's file `model.keras`, which suffices alone.
        files: Image files, and folders: every image anywhere below one is taken. A
            folder that holds the slices of one DICOM series is one image.
        spacing: Millimetres per pixel, x and y, for 2D files that do not say.
        console: `rich.console.Console` for a progress bar; `None` for none.

    Returns:
        The predictions in the order of the files, and one sentence for each file
        that could not be read.

    Raises:
        FileNotFoundError: If `model` is none of these.
        ValueError: If it is a file that does not suffice alone.
    """
    paths, problems = find_files(files)
    with _folder_of(model) as folder:
        locator = _locator(folder)

        def readable() -> Iterator[ImageSource]:
            for path in paths:
                try:
                    source = read_image_source(
                        path, spacing, locator.dimensions, locator.stored_values
                    )
                    check_decoding(source)
                    yield source
                except (ValueError, OSError) as error:
                    problems.append(str(error))

        located = progress.track(
            locator.locate(readable()),
            "predict",
            total=len(paths),
            console=console,
            disable=console is None,
        )
        return [Prediction.of(*found) for found in located], problems


def schema_of(model: str | pathlib.Path) -> LandmarkSchema:
    """Returns the landmarks of a model, see `predict`."""
    with _folder_of(model) as folder:
        for name in ("landmarks.json", "assets.extra/landmarks.json"):
            if (folder / name).is_file():
                return LandmarkSchema.from_dict(
                    json.loads((folder / name).read_text("utf-8"))
                )
        raise FileNotFoundError(_neither(folder))


@contextlib.contextmanager
def _folder_of(model: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the folder of a model; that of a file is gone afterwards."""
    path = preset_path(model)
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Run.from_file(path, folder).path


def check_decoding(source: ImageSource) -> None:
    """Refuses a file whose bytes the model's graph cannot decode.

    Raises:
        ValueError: If so.
    """
    if source.data is None:
        return
    try:
        decode.decode_image(tf.constant(source.data))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{source.file} is damaged or too large: it could not be decoded. Open it "
            "in a viewer and save it again, or leave it out."
        ) from error


def _locator(model: pathlib.Path) -> "RunLocator | _ExportLocator":
    if (model / "recipe.json").is_file():
        return RunLocator(Run(model))
    if (model / "saved_model.pb").is_file():
        return _ExportLocator(model)
    raise FileNotFoundError(_neither(model))


def _neither(model: pathlib.Path) -> str:
    message = (
        f"{model} is neither a run (recipe.json) nor an exported model "
        "(saved_model.pb), no .keras file of a run, and no preset: "
        f"{', '.join(preset_names())}."
    )
    versions = sorted(model.glob("*/saved_model.pb"))
    if versions:
        message += f" Did you mean {versions[-1].parent}?"
    return message


def _with_channel(source: ImageSource) -> tf.Tensor:
    return tf.constant(np.asarray(source.array)[..., None])


class RunLocator:
    """Finds the landmarks of images with a run, or with what stands in for its model.

    Args:
        run: `Run`.
        model: What has a `localizer`; `None` for the run's model.
    """

    def __init__(self, run: Run, model: Locator | None = None) -> None:
        self.recipe = run.recipe
        self.views = run.views
        self.placement = run.placement
        self.calibration = run.calibration
        self.model = model or run.load_model()
        self.dimensions = len(run.recipe.grid)
        # A window is in the numbers of the file.
        self.stored_values = run.recipe.normalization == "window"

    def locate(
        self, sources: Iterable[ImageSource]
    ) -> Iterator[tuple[ImageSource, dict[str, np.ndarray]]]:
        """Yields every image with what `inference.locate` gives of it."""
        files: list[ImageSource] = []
        d = self.dimensions

        def samples():
            for source in sources:
                files.append(source)
                if source.data is not None:
                    image = decode.decode_image(tf.constant(source.data))
                else:
                    image = decode.grey_values(
                        _with_channel(source), self.recipe.normalization
                    )
                yield {
                    "image": image.numpy(),
                    "affine": source.affine.astype(np.float32),
                }

        stream = tf.data.Dataset.from_generator(
            samples,
            output_signature={
                "image": tf.TensorSpec((*[None] * d, 1), tf.float32),
                "affine": tf.TensorSpec((d + 1, d + 1), tf.float32),
            },
        )
        found = locate(
            self.model,
            stream,
            self.recipe,
            views=self.views,
            placement=self.placement,
            calibration=self.calibration,
        )
        for index, result in enumerate(found):
            yield files[index], result


class _ExportLocator:
    def __init__(self, folder: pathlib.Path) -> None:
        # Kept: its variables go with it.
        self.model = tf.saved_model.load(str(folder))
        about = json.loads(beside(folder, "export.json").read_text("utf-8"))
        self.recipe = Recipe.from_dict(about["recipe"])
        self.dimensions = len(self.recipe.grid)
        self.stored_values = self.recipe.normalization == "window"

    def locate(self, sources):
        for source in sources:
            signature, inputs = call_of(source, self.stored_values)
            serve = self.model.signatures[signature]
            outputs = serve(**{k: tf.constant(v) for k, v in inputs.items()})
            yield source, {name: value[0].numpy() for name, value in outputs.items()}
