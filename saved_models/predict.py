"""Finds landmarks in files, with a run or with an exported model."""

import json
import math
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing, apply_affine, spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.prediction import Prediction
from scn_keras.training import preprocessing
from scn_keras.training.inference import locate
from scn_keras.training.run import Run

_DECODED_IN_GRAPH = (b"\xff\xd8\xff", b"\x89PNG", b"BM")


class _Source(NamedTuple):
    """A file that was read: bytes that a graph decodes, or an array, and its affine."""

    file: pathlib.Path
    data: bytes | None
    array: np.ndarray | None
    affine: np.ndarray
    notes: tuple[str, ...]


def predict(
    model: str | pathlib.Path,
    files: Sequence[str | pathlib.Path],
    spacing: tuple[float, float] | None = None,
) -> tuple[list[Prediction], list[str]]:
    """Finds the landmarks in image files.

    PNG, JPEG and BMP are decoded by the model's own graph; every other format, volumes
    and folders of DICOM slices too, is read with SimpleITK, its spacing, origin and
    direction with it.

    Args:
        model: The folder of a run, or of an exported model's version.
        files: Image files, or folders of one DICOM series each.
        spacing: Millimetres per pixel, x and y, for 2D files that do not say.

    Returns:
        The predictions in the order of the files, and one sentence for each file
        that could not be read.

    Raises:
        FileNotFoundError: If `model` is neither a run nor an exported model.
    """
    locator = _locator(pathlib.Path(model))
    problems: list[str] = []

    def readable() -> Iterator[_Source]:
        for file in map(pathlib.Path, files):
            try:
                yield _read(file, spacing, locator.dimensions, locator.stored_values)
            except (ValueError, OSError) as error:
                problems.append(str(error))

    predictions = []
    for source, points, score in locator.locate(readable()):
        calibrated = bool(np.all(spacing_of(source.affine) > 0.0))
        millimetres = apply_affine(source.affine, points.astype(np.float64))
        predictions.append(
            Prediction(
                source.file,
                points,
                (millimetres if calibrated else points * math.nan).astype(np.float32),
                score,
                calibrated,
                source.notes,
            )
        )
    return predictions, problems


def schema_of(model: str | pathlib.Path) -> LandmarkSchema:
    """Returns the landmarks of a run or an exported model."""
    model = pathlib.Path(model)
    for path in (model / "landmarks.json", model / "assets.extra" / "landmarks.json"):
        if path.is_file():
            return LandmarkSchema.from_dict(json.loads(path.read_text()))
    raise FileNotFoundError(_neither(model))


def _locator(model: pathlib.Path) -> "_RunLocator | _ExportLocator":
    if (model / "recipe.json").is_file():
        return _RunLocator(Run(model))
    if (model / "saved_model.pb").is_file():
        return _ExportLocator(model)
    raise FileNotFoundError(_neither(model))


def _neither(model: pathlib.Path) -> str:
    message = (
        f"{model} is neither a run (recipe.json) nor an exported model "
        "(saved_model.pb)."
    )
    versions = sorted(model.glob("*/saved_model.pb"))
    if versions:
        message += f" Did you mean {versions[-1].parent}?"
    return message


class _RunLocator:
    def __init__(self, run: Run) -> None:
        self.recipe = run.recipe
        self.views = run.views
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
        found = locate(self.model, stream, self.recipe, views=self.views)
        for index, result in enumerate(found):
            yield files[index], result["points_px"], result["score"]


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
            yield source, points.numpy(), score.numpy()


def _read(
    file: pathlib.Path,
    spacing: tuple[float, float] | None,
    dimensions: int,
    stored_values: bool,
) -> _Source:
    affine = None if spacing is None else affine_from_spacing(spacing)
    unknown = np.diag([0.0] * dimensions + [1.0])
    if affine is not None and dimensions != 2:
        raise ValueError(
            "A spacing in x and y is for 2D images, and the model takes volumes: leave "
            f"it out. Received: spacing={spacing}"
        )
    data = b""
    if dimensions == 2 and not stored_values and file.is_file():
        data = file.read_bytes()
    if data.startswith(_DECODED_IN_GRAPH):
        try:
            preprocessing.decode_image(tf.constant(data))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{file} is damaged: it could not be decoded. Open it in a viewer and "
                "save it again, or leave it out."
            ) from error
        return _Source(file, data, None, unknown if affine is None else affine, ())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array, own = read_image(file)
    if array.ndim != dimensions:
        raise ValueError(
            f"{file} must be an image of {dimensions} axes for this model. Received: "
            f"shape {array.shape}"
        )
    if dimensions == 2 and array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{file} must be a 2D image of 8 or 16 bits without sign. Received: "
            f"{array.dtype} {array.shape}"
        )
    affine = affine if own is None else own
    notes = tuple(str(warning.message) for warning in caught)
    return _Source(file, None, array, unknown if affine is None else affine, notes)
