"""Finds landmarks in files, with a run or with an exported model."""

import csv
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing, apply_affine, spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.prediction import Prediction
from scn_keras.training import preprocessing
from scn_keras.training.inference import locate
from scn_keras.training.run import Run

_DECODED_IN_GRAPH = (b"\xff\xd8\xff", b"\x89PNG", b"BM")
_UNKNOWN = np.diag([0.0, 0.0, 1.0])


def predict(
    model: str | pathlib.Path,
    files: Sequence[str | pathlib.Path],
    spacing: tuple[float, float] | None = None,
) -> tuple[list[Prediction], list[str]]:
    """Finds the landmarks in image files.

    PNG, JPEG and BMP are decoded by the model's own graph; every other 2D format
    is read with SimpleITK, its spacing, origin and direction with it.

    Args:
        model: The folder of a run, or of an exported model's version.
        files: Image files.
        spacing: Millimetres per pixel, x and y, for files that do not say.

    Returns:
        The predictions in the order of the files, and one sentence for each file
        that could not be read.

    Raises:
        FileNotFoundError: If `model` is neither a run nor an exported model.
    """
    locator = _locator(pathlib.Path(model))
    problems: list[str] = []

    def readable() -> Iterator[tuple[pathlib.Path, bytes, np.ndarray]]:
        for file in map(pathlib.Path, files):
            try:
                yield file, *_read(file, spacing)
            except (ValueError, OSError) as error:
                problems.append(str(error))

    predictions = []
    for file, affine, points, score in locator(readable()):
        calibrated = bool(np.all(spacing_of(affine) > 0.0))
        millimetres = apply_affine(affine, points.astype(np.float64))
        predictions.append(
            Prediction(
                file,
                points,
                (millimetres if calibrated else points * math.nan).astype(np.float32),
                score,
                calibrated,
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


def print_points(predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Prints one table a file."""
    for prediction in predictions:
        table = Table(title=str(prediction.file), title_justify="left")
        table.add_column("landmark")
        for column in ("x px", "y px", "x mm", "y mm", "score"):
            table.add_column(column, justify="right")
        for name, px, mm, score in zip(
            names,
            prediction.points_px,
            prediction.points_mm,
            prediction.score,
            strict=True,
        ):
            values = [f"{v:.2f}" if np.isfinite(v) else "-" for v in (*px, *mm)]
            table.add_row(name, *values, f"{score:.2f}")
        Console().print(table)


def write_json_file(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as JSON; millimetres that are not known are null."""
    rows = [
        {
            "file": str(p.file),
            "calibrated": p.calibrated,
            "landmarks": [
                {
                    "name": name,
                    "px": px.tolist(),
                    "mm": mm.tolist() if p.calibrated else None,
                    "score": float(score),
                }
                for name, px, mm, score in zip(
                    names, p.points_px, p.points_mm, p.score, strict=True
                )
            ],
        }
        for p in predictions
    ]
    _write(path, lambda file: json.dump(rows, file, indent=2))


def write_csv_file(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as CSV, one row a landmark; unknown millimetres are empty."""

    def write(file):
        writer = csv.writer(file)
        writer.writerow(["file", "landmark", "x_px", "y_px", "x_mm", "y_mm", "score"])
        for p in predictions:
            for name, px, mm, score in zip(
                names, p.points_px, p.points_mm, p.score, strict=True
            ):
                millimetres = mm.tolist() if p.calibrated else ["", ""]
                writer.writerow(
                    [str(p.file), name, *px.tolist(), *millimetres, float(score)]
                )

    _write(path, write)


def write_overlays(
    folder: pathlib.Path, predictions: Sequence[Prediction], schema: LandmarkSchema
) -> None:
    """Draws each file with its points, as `FOLDER/NAME.png`."""
    from scn_keras.training import overlay  # brings matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        data, _ = _read(prediction.file, None)
        image = preprocessing.decode_image(tf.constant(data)).numpy()[..., 0]
        drawing = overlay.draw_overlay(
            image, schema, prediction.points_px, title=prediction.file.name
        )
        (folder / f"{prediction.file.stem}.png").write_bytes(overlay.to_png(drawing))


def _locator(model: pathlib.Path) -> Callable[..., Iterator[Any]]:
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

    def __call__(self, images):
        files = []

        def samples():
            for file, data, affine in images:
                files.append((file, affine))
                yield {
                    "image": preprocessing.decode_image(tf.constant(data)).numpy(),
                    "affine": affine.astype(np.float32),
                }

        stream = tf.data.Dataset.from_generator(
            samples,
            output_signature={
                "image": tf.TensorSpec((None, None, 1), tf.float32),
                "affine": tf.TensorSpec((3, 3), tf.float32),
            },
        )
        found = locate(self.model, stream, self.recipe, views=self.views)
        for index, result in enumerate(found):
            yield *files[index], result["points_px"], result["score"]


class _ExportLocator:
    def __init__(self, folder: pathlib.Path) -> None:
        # Kept: its variables go with it.
        self.model = tf.saved_model.load(str(folder))

    def __call__(self, images):
        serve = self.model.signatures["serving_default"]
        for file, data, affine in images:
            spacing = spacing_of(affine).astype(np.float32)
            outputs = serve(
                image_bytes=tf.constant([data]), spacing_mm=tf.constant(spacing[None])
            )
            points, score = outputs["points_px"][0], outputs["score"][0]
            yield file, affine, points.numpy(), score.numpy()


def _read(
    file: pathlib.Path, spacing: tuple[float, float] | None
) -> tuple[bytes, np.ndarray]:
    """Returns bytes that the graph decodes, and the affine of the file."""
    data = file.read_bytes()
    affine = None if spacing is None else affine_from_spacing(spacing)
    if data.startswith(_DECODED_IN_GRAPH):
        try:
            preprocessing.decode_image(tf.constant(data))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{file} is damaged: it could not be decoded. Open it in a viewer and "
                "save it again, or leave it out."
            ) from error
    else:
        array, own = read_image(file)
        if array.dtype not in (np.uint8, np.uint16) or array.ndim != 2:
            raise ValueError(
                f"{file} must be a 2D image of 8 or 16 bits without sign. Received: "
                f"{array.dtype} {array.shape}"
            )
        data = tf.io.encode_png(array[..., None]).numpy()
        affine = affine if own is None else own
    return data, _UNKNOWN if affine is None else affine


def _write(path: pathlib.Path, write: Callable[[Any], None]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="") as file:
        write(file)
    temporary.replace(path)
