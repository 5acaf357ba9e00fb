"""What a model found in files, as tables, files and pictures."""

import csv
import io
import json
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scn_keras.files import PointSet, read_image, read_image_header, write_points
from scn_keras.files.atomic_write import write_text
from scn_keras.files.find_images import image_id
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.prediction import Prediction


def print_points(predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Prints one table a file."""
    for prediction in predictions:
        table = Table(title=str(prediction.file), title_justify="left")
        table.add_column("landmark")
        for column in (*_columns(prediction, " "), "score"):
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


def worst(
    predictions: Sequence[Prediction], count: int
) -> tuple[list[Prediction], str]:
    """Returns the files with the highest expected error, the highest first.

    That of a file is the mean over its landmarks, see `Prediction.expected_error`.

    Args:
        predictions: Sequence of `Prediction`.
        count: Int, how many.

    Returns:
        `(predictions, unit)`: the unit is `"mm"` where all files are calibrated, else
        `"px"`.

    Raises:
        ValueError: If the model did not say how wide its peaks are.
    """
    unit = "mm" if all(p.calibrated for p in predictions) else "px"
    errors = [p.expected_error(unit).mean() for p in predictions]
    if np.isnan(errors).any():
        raise ValueError(
            "This exported model does not say how wide its peaks are. Export it again, "
            "or give its run."
        )
    order = np.argsort(errors, kind="stable")[::-1][:count]
    return [predictions[index] for index in order], unit


def print_worst(
    predictions: Sequence[Prediction], unit: str, names: Sequence[str]
) -> None:
    """Prints a line a file with its expected error and its worst landmark."""
    table = Table(
        title=f"Highest expected error, {unit}", title_justify="left", box=None
    )
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("worst landmark", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for prediction in predictions:
        errors = prediction.expected_error(unit)
        row = int(errors.argmax())
        table.add_row(
            f"{errors.mean():.2f}",
            escape(names[row]),
            f"{errors[row]:.2f}",
            escape(str(prediction.file)),
        )
    Console().print(table)


def write_json(
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
    write_text(path, json.dumps(rows, indent=2))


def write_csv(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as CSV, one row a landmark; unknown millimetres are empty."""

    table = io.StringIO(newline="")
    writer = csv.writer(table)
    if predictions:
        columns = _columns(predictions[0], "_")
        writer.writerow(["file", "landmark", *columns, "score"])
    for p in predictions:
        for name, px, mm, score in zip(
            names, p.points_px, p.points_mm, p.score, strict=True
        ):
            millimetres = mm.tolist() if p.calibrated else [""] * len(mm)
            writer.writerow(
                [str(p.file), name, *px.tolist(), *millimetres, float(score)]
            )
    write_text(path, table.getvalue())


def write_markups(
    folder: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes the points of each file as `FOLDER/NAME.mrk.json`, for 3D Slicer.

    They lie where Slicer shows the file, in millimetres where it is calibrated. What
    was corrected there is read back as training data by `landmark_folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for prediction, name in zip(predictions, _names(predictions), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the prediction's notes have them
            header = read_image_header(prediction.file)
        points = PointSet(names, prediction.points_px).to_lps(header)
        write_points(folder / f"{name}.mrk.json", points)


def write_overlays(
    folder: pathlib.Path, predictions: Sequence[Prediction], schema: LandmarkSchema
) -> None:
    """Draws each file with its points, as `FOLDER/NAME.png`."""
    from scn_keras.training import overlay  # brings matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    for prediction, name in zip(predictions, _names(predictions), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the prediction's notes have them
            image, affine = read_image(prediction.file)
        drawing = overlay.draw_overlay(
            image,
            schema,
            prediction.points_px,
            affine=affine,
            title=prediction.file.name,
        )
        (folder / f"{name}.png").write_bytes(overlay.to_png(drawing))


def _names(predictions: Sequence[Prediction]) -> list[str]:
    """Names without endings; files of one name in several folders are numbered."""
    names: list[str] = []
    for prediction in predictions:
        # By which `landmark_folder` finds the image of a file of points.
        stem = image_id(prediction.file)
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}_{number}"
        names.append(name)
    return names


def _columns(prediction: Prediction, between: str) -> list[str]:
    axes = "xyz"[: prediction.points_px.shape[-1]]
    return [f"{axis}{between}{unit}" for unit in ("px", "mm") for axis in axes]
