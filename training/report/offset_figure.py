"""Arrows from where a model places the landmarks to where an observer marks them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import to_svg
from scn_keras.pictures.style import plain_text
from scn_keras.training.evaluation.offsets import real_offsets
from scn_keras.training.evaluation.result_table import MAX_OFFSETS, offsets, unit_of
from scn_keras.training.report.fragments import picture

_REAL, _OTHER = "#D55E00", "#9aa5ab"
_MAGNIFICATIONS = (1, 2, 5, 10, 20, 50)
# The largest arrow has at most this share of the extent of the shape.
_LONGEST = 0.2
# The planes of volumes in LPS coordinates: from the front, and from the left.
_PLANES = {2: (((0, 1), ""),), 3: (((0, 2), "from the front"), ((1, 2), "from a side"))}


def offset_picture(result: Mapping[str, Any], schema: LandmarkSchema) -> str:
    """Returns the arrows of a result as a picture; empty for early versions.

    Args:
        result: Mapping, a result of `evaluate`.
        schema: `LandmarkSchema`.
    """
    measured, unit = result.get("offsets"), unit_of(result)
    if not measured or f"shape_{unit}" not in measured:
        return ""
    text = offsets(result) or (
        "No landmark is marked elsewhere than the model places it, apart from chance."
    )
    drawing, scale = offset_figure(measured, schema, unit)
    magnified = f", {scale} times as long" if scale > 1 else ""
    return picture(
        to_svg(drawing),
        "svg+xml",
        "Mean offsets of the landmarks",
        f"Mean offsets{magnified}, from the points of the model to those of the "
        "observer, in the mean shape. Coloured: not by chance, the largest five with "
        f"names. {text}",
    )


def offset_figure(
    measured: Mapping[str, Any], schema: LandmarkSchema, unit: str = "mm"
) -> tuple[figure.Figure, int]:
    """Draws the mean shape with an arrow for each landmark.

    Args:
        measured: Mapping, see `offset_statistics`.
        schema: `LandmarkSchema`, for links.
        unit: `"mm"` or `"px"`.

    Returns:
        The figure, and the number by which the arrows are longer than the offsets.
    """
    shape = np.array(measured[f"shape_{unit}"])
    rows = measured["per_landmark"]
    vectors = np.array(
        [row[f"offset_{unit}"] or [np.nan] * shape.shape[1] for row in rows]
    )
    ranked = [row["name"] for row in real_offsets(measured, unit)]
    scale = _magnification(shape, vectors)
    planes = _PLANES[shape.shape[1]]
    extent = np.maximum(np.ptp(shape, axis=0), 1e-6)
    height = float(np.clip(4.4 * extent[-1] / extent[0], 2.5, 6.0))
    drawing = figure.Figure((5.4, height * len(planes)), layout="constrained")
    for axes, (plane, title) in zip(
        np.ravel(drawing.subplots(len(planes))), planes, strict=True
    ):
        axes.set_title(title, fontsize=9)
        _draw(axes, shape[:, plane], scale * vectors[:, plane], rows, ranked, schema)
        if plane[1] == 1:  # y points down in images, z up in volumes
            axes.invert_yaxis()
    return drawing, scale


def _draw(
    axes: Axes,
    shape: np.ndarray,
    vectors: np.ndarray,
    rows: list[dict[str, Any]],
    ranked: Sequence[str],
    schema: LandmarkSchema,
) -> None:
    for a, b in schema.links:
        axes.plot(*shape[[a, b]].T, color=_OTHER, lw=0.5, alpha=0.6, zorder=0)
    axes.plot(*shape.T, ".", color=_OTHER, ms=3)
    for place, vector, row in zip(shape, vectors, rows, strict=True):
        if np.isnan(vector).any():
            continue
        is_real = row["name"] in ranked
        axes.annotate(
            "",
            place + vector,
            place,
            arrowprops={
                "arrowstyle": "-|>",
                "color": _REAL if is_real else _OTHER,
                "lw": 1.4 if is_real else 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        if row["name"] in ranked[:MAX_OFFSETS]:
            axes.annotate(
                plain_text(row["name"]),
                place + vector,
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=7,
            )
    ends = np.concatenate([shape, (shape + vectors)[~np.isnan(vectors).any(1)]])
    axes.update_datalim(ends)
    axes.autoscale_view()
    axes.margins(0.12)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _magnification(shape: np.ndarray, vectors: np.ndarray) -> int:
    lengths = np.linalg.norm(vectors, axis=1)
    longest = np.nanmax(lengths) if np.isfinite(lengths).any() else 0.0
    allowed = _LONGEST * np.linalg.norm(np.ptp(shape, axis=0))
    fitting = [m for m in _MAGNIFICATIONS if m * longest <= allowed]
    return max(fitting, default=1)
