"""Predictions as printed tables, files and pictures."""

import csv
import io
import json
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scn_keras.files import PointSet, read_image, read_image_header, write_points
from scn_keras.files.atomic_write import write_bytes, write_text
from scn_keras.files.find_images import image_id
from scn_keras.files.shown_text import csv_text, shown_text
from scn_keras.inference.calibration_source import radii_sentence
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.predicting.prediction import Prediction


def print_points(predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Prints one table per file."""
    for prediction in predictions:
        title = escape(shown_text(str(prediction.file)))
        table = Table(title=title, title_justify="left")
        table.add_column("landmark")
        uncertainty = _uncertainty(prediction)
        # The radii are shown in one unit only, to limit the width of the table.
        uncertainty.pop("radius90_px" if prediction.calibrated else "radius90_mm", None)
        for column in (*_columns(prediction, " "), "score", *uncertainty):
            table.add_column(column.replace("_", " "), justify="right")
        for row, name in enumerate(names):
            px, mm = prediction.points_px[row], prediction.points_mm[row]
            values = [f"{v:.2f}" if np.isfinite(v) else "-" for v in (*px, *mm)]
            values.append(f"{prediction.score[row]:.2f}")
            values += [_as_text(column[row]) for column in uncertainty.values()]
            table.add_row(escape(shown_text(name)), *values)
        Console().print(table)
        if prediction.trusted is False:
            Console().print(
                "Not to be trusted: the image is not similar to the training images."
            )
    sources = dict.fromkeys(p.calibration_source for p in predictions)
    for source in filter(None, sources):
        Console().print(radii_sentence(source), markup=False, highlight=False)


def worst(
    predictions: Sequence[Prediction], count: int
) -> tuple[list[Prediction], str]:
    """Returns the files with the largest 90 % radii, the largest first.

    The radius of a file is the mean over its landmarks. For models without calibration,
    the expected error is used instead, see `Prediction.expected_error`.

    Args:
        predictions: Sequence of `Prediction`.
        count: Int, the number of files.

    Returns:
        `(predictions, unit)`. The unit is `"mm"` if all files have a usable spacing,
        otherwise `"px"`.

    Raises:
        ValueError: If the model does not return covariances.
    """
    unit = "mm" if all(p.calibrated for p in predictions) else "px"
    errors = [_radius_or_error(p, unit).mean() for p in predictions]
    if np.isnan(errors).any():
        raise ValueError(
            "An exported model of an early version does not return the covariances "
            "that this requires. Export it again, or use its run. Received: "
            "covariance_px2=NaN"
        )
    order = np.argsort(errors, kind="stable")[::-1][:count]
    return [predictions[index] for index in order], unit


def print_worst(
    predictions: Sequence[Prediction], unit: str, names: Sequence[str]
) -> None:
    """Prints one line per file with its radius, see `worst`, and worst landmark."""
    has_radii = all(p.radius90(unit) is not None for p in predictions)
    title = "Largest 90 % radii" if has_radii else "Highest expected error"
    table = Table(title=f"{title}, {unit}", title_justify="left", box=None)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("worst landmark", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for prediction in predictions:
        errors = _radius_or_error(prediction, unit)
        row = int(errors.argmax())
        table.add_row(
            f"{errors.mean():.2f}",
            escape(shown_text(names[row])),
            f"{errors[row]:.2f}",
            escape(shown_text(str(prediction.file))),
        )
    Console().print(table)


def write_json(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as JSON; unknown millimetres are null."""
    rows = [
        {
            "file": str(p.file),
            "calibrated": p.calibrated,
            **_of_image(p),
            "landmarks": [
                {
                    "name": name,
                    "px": _all_or_none(p.points_px[row]),
                    "mm": _all_or_none(p.points_mm[row]),
                    "score": _or_none(p.score[row]),
                    **{
                        key: _or_none(values[row])
                        for key, values in _uncertainty(p).items()
                    },
                }
                for row, name in enumerate(names)
            ],
        }
        for p in predictions
    ]
    write_text(path, json.dumps(rows, indent=2))


def write_csv(
    path: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes predictions as CSV, one row per landmark, unknown millimetres empty.

    Names that spreadsheets would evaluate have an apostrophe before them, see
    `csv_text`.
    """
    write_text(path, format_csv(predictions, names))


def format_csv(predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    """Returns predictions as the text of a CSV file, see `write_csv`."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    if predictions:
        first = predictions[0]
        columns = *_columns(first, "_"), "score", *_uncertainty(first)
        writer.writerow(["file", "landmark", *columns, *_of_image(first)])
    for p in predictions:
        of_image = _of_image(p)
        for row, name in enumerate(names):
            mm = p.points_mm[row]
            numbers = map(_or_none, (*p.points_px[row], *mm, p.score[row]))
            uncertainty = [_or_none(values[row]) for values in _uncertainty(p).values()]
            cells = [
                *map(csv_text, (str(p.file), name)),
                *numbers,
                *uncertainty,
                *map(_csv_cell, of_image.values()),
            ]
            writer.writerow(cells)
    return table.getvalue()


def write_markups(
    folder: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> list[str]:
    """Writes the points of each file as `FOLDER/NAME.mrk.json`, for 3D Slicer.

    The points are in the coordinates in which Slicer shows the file, in millimetres if
    it has a usable spacing. Landmarks that a calibrated model predicts as absent are
    undefined. The data set `landmark_folder` reads corrected files as training data.

    Returns:
        A message for each file that could not be written. The others are.
    """

    def write(prediction: Prediction, stem: str) -> None:
        points = points_in_space(prediction, names)
        write_points(folder / f"{stem}.mrk.json", points)

    return _write_each(folder, predictions, write)


def points_in_space(prediction: Prediction, names: Sequence[str]) -> PointSet:
    """Returns the points of one existing file for `write_markups`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are in the notes of the prediction
        # A file with an orientation tag has been located as it is stored.
        header = read_image_header(prediction.file, stored_pixels=True)
    return PointSet(names, _present(prediction)).to_lps(header)


def write_overlays(
    folder: pathlib.Path, predictions: Sequence[Prediction], schema: LandmarkSchema
) -> list[str]:
    """Draws each file with its points and 90 % radii, as `FOLDER/NAME.png`.

    See `pictures.draw_prediction`.

    Returns:
        A message for each file that could not be drawn. The others are.
    """
    from scn_keras import pictures  # imports matplotlib

    def draw(prediction: Prediction, stem: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are in the notes of the prediction
            image, _ = read_image(prediction.file, stored_pixels=True)
        warning = ", not to be trusted" if prediction.trusted is False else ""
        drawing = pictures.draw_prediction(
            image,
            schema,
            _present(prediction),
            prediction.affine,
            prediction.radius90("mm" if prediction.calibrated else "px"),
            f"{prediction.file.name}{warning}",
        )
        picture = pictures.to_png(drawing, drawing.dpi)
        write_bytes(folder / f"{stem}.png", picture)

    return _write_each(folder, predictions, draw)


def _write_each(
    folder: pathlib.Path,
    predictions: Sequence[Prediction],
    write: Callable[[Prediction, str], None],
) -> list[str]:
    """Calls a function with each prediction and its name; returns the problems."""
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for prediction, stem in zip(predictions, _names(predictions), strict=True):
        try:
            write(prediction, stem)
        # A file may have been changed or removed since it was read, and its name may
        # be too long with another extension.
        except (ValueError, OSError) as error:
            problems.append(f"{prediction.file}: nothing written to {folder}: {error}")
    return problems


def _names(predictions: Sequence[Prediction]) -> list[str]:
    """Returns names without suffixes, numbered for equal names in several folders."""
    names: list[str] = []
    for prediction in predictions:
        # `landmark_folder` assigns a file of points to its image by this name.
        stem = image_id(prediction.file)
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}_{number}"
        names.append(name)
    return names


def _radius_or_error(prediction: Prediction, unit: str) -> np.ndarray:
    radius = prediction.radius90(unit)
    return prediction.expected_error(unit) if radius is None else radius


def _present(prediction: Prediction) -> np.ndarray:
    """Returns the points in pixels, NaN for absent landmarks."""
    if prediction.present is None:
        return prediction.points_px
    return np.where(prediction.present[:, None], prediction.points_px, np.nan)


def _uncertainty(prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns radii and presence of all landmarks, if the model has a calibration."""
    fields = {
        "radius90_px": prediction.radius90_px,
        "radius90_mm": prediction.radius90_mm,
        "present": prediction.present,
    }
    return {name: values for name, values in fields.items() if values is not None}


def _of_image(prediction: Prediction) -> dict[str, Any]:
    """Returns the known values of an image that are written with its landmarks."""
    novelty = prediction.novelty
    fields = {
        "trusted": prediction.trusted,
        "novelty": novelty if novelty is None else round(novelty, 4),
        "radii_calibrated_on": prediction.calibration_source,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _csv_cell(value: bool | float | str) -> bool | float | str:
    # The names of data sets and folders are text of others.
    return csv_text(value) if isinstance(value, str) else value


def _all_or_none(values: np.ndarray) -> list[float] | None:
    """Returns coordinates for JSON, `None` if they are not known."""
    return values.tolist() if np.isfinite(values).all() else None


def _or_none(value: np.generic) -> bool | float | None:
    """Returns a value for JSON and CSV, with `None` for NaN."""
    return value.item() if np.isfinite(value) else None


def _as_text(value: np.generic) -> str:
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _columns(prediction: Prediction, separator: str) -> list[str]:
    axes = "xyz"[: prediction.points_px.shape[-1]]
    return [f"{axis}{separator}{unit}" for unit in ("px", "mm") for axis in axes]
