"""Finds landmarks in files, with a run or with an exported model."""

import contextlib
import json
import math
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from rich import progress
from rich.console import Console

from scn_keras.files.find_images import find_images
from scn_keras.geometry import apply_affine, spacing_of, spread_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import preset_names, preset_path
from scn_keras.saved_models.image_source import ImageSource, read_image_source
from scn_keras.saved_models.prediction import Prediction
from scn_keras.training import preprocessing
from scn_keras.training.inference import locate
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
    problems: list[str] = []
    paths: list[pathlib.Path] = []
    for file in map(pathlib.Path, files):
        found = [*find_images(file)] if file.is_dir() else [file]
        if not found:
            problems.append(f"There are no images in {file}.")
        paths += found
    with _folder_of(model) as folder:
        locator = _locator(folder)

        def readable() -> Iterator[ImageSource]:
            for path in paths:
                try:
                    yield read_image_source(
                        path, spacing, locator.dimensions, locator.stored_values
                    )
                except (ValueError, OSError) as error:
                    problems.append(str(error))

        located = progress.track(
            locator.locate(readable()),
            "predict",
            total=len(paths),
            console=console,
            disable=console is None,
        )
        return [_prediction(*found) for found in located], problems


def schema_of(model: str | pathlib.Path) -> LandmarkSchema:
    """Returns the landmarks of a model, see `predict`."""
    with _folder_of(model) as folder:
        for name in ("landmarks.json", "assets.extra/landmarks.json"):
            if (folder / name).is_file():
                return LandmarkSchema.from_dict(json.loads((folder / name).read_text()))
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


def _prediction(
    source: ImageSource, points: np.ndarray, score: np.ndarray, covariance: np.ndarray
) -> Prediction:
    calibrated = bool(np.all(spacing_of(source.affine) > 0.0))
    to_mm = source.affine if calibrated else source.affine * math.nan
    return Prediction(
        source.file,
        points,
        apply_affine(to_mm, points.astype(np.float64)).astype(np.float32),
        score,
        calibrated,
        source.notes,
        spread_of(np.eye(len(to_mm)), covariance),
        spread_of(to_mm, covariance),
    )


def _locator(model: pathlib.Path) -> "_RunLocator | _ExportLocator":
    if (model / "recipe.json").is_file():
        return _RunLocator(Run(model))
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


class _RunLocator:
    def __init__(self, run: Run) -> None:
        self.recipe = run.recipe
        self.views = run.views
        self.placement = run.placement
        self.model = run.load_model()
        self.dimensions = len(run.recipe.grid)
        # A window is in the numbers of the file.
        self.stored_values = run.recipe.normalization == "window"

    def locate(self, sources):
        files = []
        d = self.dimensions

        def samples():
            for source in sources:
                files.append(source)
                if source.data is not None:
                    image = preprocessing.decode_image(tf.constant(source.data))
                else:
                    image = preprocessing.grey_values(
                        tf.constant(source.array[..., None]), self.recipe.normalization
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
        )
        for index, result in enumerate(found):
            numbers = (result[n] for n in ("points_px", "score", "covariance_px2"))
            yield (files[index], *numbers)


class _ExportLocator:
    dimensions = 2
    stored_values = False

    def __init__(self, folder: pathlib.Path) -> None:
        # Kept: its variables go with it.
        self.model = tf.saved_model.load(str(folder))

    def locate(self, sources):
        serve = self.model.signatures["serving_default"]
        for source in sources:
            data = source.data
            if data is None:
                data = tf.io.encode_png(source.array[..., None]).numpy()
            spacing = spacing_of(source.affine).astype(np.float32)
            outputs = serve(
                image_bytes=tf.constant([data]), spacing_mm=tf.constant(spacing[None])
            )
            points, score = outputs["points_px"][0], outputs["score"][0]
            # Models that were exported by an early version do not say.
            covariance = outputs.get("covariance_px2", tf.fill((1, 1, 2, 2), math.nan))
            yield source, points.numpy(), score.numpy(), covariance[0].numpy()
