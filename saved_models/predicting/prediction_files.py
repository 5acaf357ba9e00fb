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

from scn_keras.array_api import NUMPY
from scn_keras.files import PointSet, read_image, read_image_header, write_points
from scn_keras.files.atomic_write import write_text
from scn_keras.files.find_images import image_id
from scn_keras.geometry import has_usable_spacing
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.saved_models.predicting.prediction import Prediction


def print_points(predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Prints one table a file."""
    for prediction in predictions:
        table = Table(title=str(prediction.file), title_justify="left")
        table.add_column("landmark")
        said = _said(prediction)
        # In one unit: more does not fit.
        said.pop("radius90_px" if prediction.calibrated else "radius90_mm", None)
        for column in (*_columns(prediction, " "), "score", *said):
            table.add_column(column.replace("_", " "), justify="right")
        for row, name in enumerate(names):
            px, mm = prediction.points_px[row], prediction.points_mm[row]
            values = [f"{v:.2f}" if np.isfinite(v) else "-" for v in (*px, *mm)]
            more = [_in_words(column[row]) for column in said.values()]
            table.add_row(name, *values, f"{prediction.score[row]:.2f}", *more)
        Console().print(table)
        if prediction.trusted is False:
            Console().print(
                "Not to be trusted: unlike the images that the model knows."
            )


def worst(
    predictions: Sequence[Prediction], count: int
) -> tuple[list[Prediction], str]:
    """Returns the files with the largest 90 % radii, the largest first.

    That of a file is the mean over its landmarks. Where the model was not calibrated,
    the expected error takes its place, see `Prediction.expected_error`.

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
    errors = [_doubt(p, unit).mean() for p in predictions]
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
    """Prints a line a file with its radius, see `worst`, and its worst landmark."""
    known = all(p.radius90(unit) is not None for p in predictions)
    about = "Largest 90 % radii" if known else "Highest expected error"
    table = Table(title=f"{about}, {unit}", title_justify="left", box=None)
    table.add_column("mean", justify="right", no_wrap=True)
    table.add_column("worst landmark", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for prediction in predictions:
        errors = _doubt(prediction, unit)
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
            **({} if p.trusted is None else {"trusted": p.trusted}),
            "landmarks": [
                {
                    "name": name,
                    "px": p.points_px[row].tolist(),
                    "mm": p.points_mm[row].tolist() if p.calibrated else None,
                    "score": float(p.score[row]),
                    **{key: _or_none(said[row]) for key, said in _said(p).items()},
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
    """Writes predictions as CSV, one row a landmark; unknown millimetres are empty."""
    write_text(path, format_csv(predictions, names))


def format_csv(predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    """Returns the text that `write_csv` writes."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    if predictions:
        first = predictions[0]
        trusted = [] if first.trusted is None else ["trusted"]
        columns = (*_columns(first, "_"), "score", *_said(first), *trusted)
        writer.writerow(["file", "landmark", *columns])
    for p in predictions:
        answer = [] if p.trusted is None else [p.trusted]
        for row, name in enumerate(names):
            mm = p.points_mm[row]
            millimetres = mm.tolist() if p.calibrated else [""] * len(mm)
            said = [_or_none(values[row]) for values in _said(p).values()]
            numbers = (*p.points_px[row].tolist(), *millimetres, float(p.score[row]))
            writer.writerow([str(p.file), name, *numbers, *said, *answer])
    return table.getvalue()


def write_markups(
    folder: pathlib.Path, predictions: Sequence[Prediction], names: Sequence[str]
) -> None:
    """Writes the points of each file as `FOLDER/NAME.mrk.json`, for 3D Slicer.

    They lie where Slicer shows the file, in millimetres where it is calibrated; those
    that a calibrated model takes to be absent are undefined. What was corrected there
    is read back as training data by `landmark_folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for prediction, name in zip(predictions, _names(predictions), strict=True):
        points = points_in_space(prediction, names)
        write_points(folder / f"{name}.mrk.json", points)


def points_in_space(prediction: Prediction, names: Sequence[str]) -> PointSet:
    """Returns what `write_markups` writes of one file, which must be there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the prediction's notes have them
        header = read_image_header(prediction.file)
    return PointSet(names, _present(prediction)).to_lps(header)


def write_overlays(
    folder: pathlib.Path, predictions: Sequence[Prediction], schema: LandmarkSchema
) -> None:
    """Draws each file with its points and 90 % radii, as `FOLDER/NAME.png`."""
    from scn_keras import pictures  # brings matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    for prediction, name in zip(predictions, _names(predictions), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the prediction's notes have them
            image, affine = read_image(prediction.file)
        to_mm = affine is not None and has_usable_spacing(affine, NUMPY)
        warned = ", not to be trusted" if prediction.trusted is False else ""
        drawing = pictures.draw_overlay(
            image,
            schema,
            _present(prediction),
            affine=affine,
            predicted_radii=prediction.radius90("mm" if to_mm else "px"),
            options=pictures.OverlayOptions(title=f"{prediction.file.name}{warned}"),
        )
        (folder / f"{name}.png").write_bytes(pictures.to_png(drawing))


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


def _doubt(prediction: Prediction, unit: str) -> np.ndarray:
    radius = prediction.radius90(unit)
    return prediction.expected_error(unit) if radius is None else radius


def _present(prediction: Prediction) -> np.ndarray:
    """The points in pixels, NaN for those of absent landmarks."""
    if prediction.present is None:
        return prediction.points_px
    return np.where(prediction.present[:, None], prediction.points_px, np.nan)


def _said(prediction: Prediction) -> dict[str, np.ndarray]:
    """What the model says of each landmark beyond place and score, if it does."""
    said = {
        "radius90_px": prediction.radius90_px,
        "radius90_mm": prediction.radius90_mm,
        "present": prediction.present,
    }
    return {name: values for name, values in said.items() if values is not None}


def _or_none(value: np.generic) -> bool | float | None:
    """A value for JSON and CSV, which have no NaN."""
    return value.item() if np.isfinite(value) else None


def _in_words(value: np.generic) -> str:
    if isinstance(value, np.bool_):
        return "yes" if value else "no"
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _columns(prediction: Prediction, between: str) -> list[str]:
    axes = "xyz"[: prediction.points_px.shape[-1]]
    return [f"{axis}{between}{unit}" for unit in ("px", "mm") for axis in axes]
