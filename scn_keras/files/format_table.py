"""Writes points as CSV: an image per row (wide) or a landmark per row (long)."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from scn_keras.files.point_set import PointSet
from scn_keras.files.shown_text import csv_text


def format_table(sets: Sequence[PointSet], layout: str) -> str:
    """Returns the text of a CSV file.

    Args:
        sets: Sequence of `PointSet` in one space, one for each image.
        layout: Str, `"long"` or `"wide"`.
    """
    space, axes = sets[0].space, sets[0].points.shape[1]
    unit = "_mm" if space == "LPS" else ""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    if layout == "long":
        named = any(points.image for points in sets)
        columns = [f"{axis}{unit}" for axis in "xyz"[:axes]]
        writer.writerow([*["image"] * named, "label", *columns])
        for points in sets:
            for label, row in zip(points.labels, points.points, strict=True):
                names = [*[points.image] * named, label]
                writer.writerow([*map(csv_text, names), *_texts(row)])
    else:
        labels = [*dict.fromkeys(label for points in sets for label in points.labels)]
        writer.writerow(
            [
                "image",
                *(csv_text(f"{n}_{a}{unit}") for n in labels for a in "xyz"[:axes]),
            ]
        )
        for points in sets:
            writer.writerow(
                [csv_text(points.image), *_texts(points.ordered(labels).ravel())]
            )
    return out.getvalue()


def _texts(values: np.ndarray) -> list[str]:
    return ["" if np.isnan(value) else repr(value) for value in values.tolist()]
