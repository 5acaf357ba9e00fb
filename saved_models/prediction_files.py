"""What a model found in files, as tables, files and pictures."""

import csv
import json
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scn_keras.files import PointSet, read_image, read_image_header, write_points
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
    _write(path, lambda file: json.dump(rows, file, indent=2))


def write_csv(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as CSV, one row a landmark; unknown millimetres are empty."""

    def write(file):
        writer = csv.writer(file)
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

    _write(path, write)


def write_markups(
    folder: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes the points of each file as `FOLDER/NAME.mrk.json`, for 3D Slicer.

    They lie where Slicer shows the file, in millimetres where it is calibrated. What
    was corrected there is read back as training data by `landmark_folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        points = PointSet(names, prediction.points_px)
        header = read_image_header(prediction.file)
        write_points(
            folder / f"{_stem(prediction.file)}.mrk.json", points.to_lps(header)
        )


def write_overlays(
    folder: pathlib.Path, predictions: Sequence[Prediction], schema: LandmarkSchema
) -> None:
    """Draws each file with its points, as `FOLDER/NAME.png`."""
    from scn_keras.training import overlay  # brings matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
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
        path = folder / f"{_stem(prediction.file)}.png"
        path.write_bytes(overlay.to_png(drawing))


def _stem(file: pathlib.Path) -> str:
    return file.name.removesuffix(".gz").rpartition(".")[0] or file.name


def _columns(prediction: Prediction, between: str) -> list[str]:
    axes = "xyz"[: prediction.points_px.shape[-1]]
    return [f"{axis}{between}{unit}" for unit in ("px", "mm") for axis in axes]


def _write(path: pathlib.Path, write: Callable[[Any], None]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="") as file:
        write(file)
    temporary.replace(path)
