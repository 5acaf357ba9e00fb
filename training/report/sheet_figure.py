"""Draws images with their landmarks side by side, as one figure with a legend."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import collections, figure, lines
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures import Projection, landmark_colors
from scn_keras.pictures.style import INK, PAPER, plain_text

# In inches.
_WIDTH = 13.0
_TITLE_HEIGHT = 0.22
_LEGEND_LINE_HEIGHT = 0.14
_NAMES_PER_LINE = 6
# The first observer's points are filled, the others' are hollow.
_MARKERS = ("o", "s", "^", "D")


class Cell(NamedTuple):
    """One image of a sheet.

    Attributes:
        title: Str.
        panels: Sequence with an entry for each observer: a sequence of `Projection`,
            one for an image and three for a volume.
        limits: Tuple of two floats, the grey values that are drawn black and white;
            `None` to choose them for each panel.
    """

    title: str
    panels: Sequence[Sequence[Projection]]
    limits: tuple[float, float] | None


def draw_sheet(
    title: str,
    cells: Sequence[Cell],
    columns: int,
    schema: LandmarkSchema,
    observers: Sequence[str],
) -> figure.Figure:
    """Draws cells in rows, and below them the names of the landmarks.

    Args:
        title: Str.
        cells: Sequence of `Cell`, all with the same number of panels.
        columns: Int, the number of cells in a row.
        schema: `LandmarkSchema`.
        observers: Sequence of str, the names of the observers in the legend.

    Returns:
        A matplotlib `Figure`.
    """
    rows = [cells[n : n + columns] for n in range(0, len(cells), columns)]
    width = _WIDTH / (columns * len(cells[0].panels[0]))
    heights = [width * _relative_height(row) + _TITLE_HEIGHT for row in rows]
    legend_lines = -(-len(schema) // _NAMES_PER_LINE)
    height = _TITLE_HEIGHT + sum(heights) + _LEGEND_LINE_HEIGHT * legend_lines + 0.1
    drawing = figure.Figure((_WIDTH, height), facecolor=PAPER)
    FigureCanvasAgg(drawing)
    drawing.suptitle(
        plain_text(title),
        color=INK,
        fontsize=10,
        x=0.005,
        y=1.0 - 0.13 / height,
        ha="left",
        va="center",
    )
    bottom = height - _TITLE_HEIGHT
    for row, row_height in zip(rows, heights, strict=True):
        bottom -= row_height
        _draw_row(drawing, row, width, (bottom, row_height), schema)
    _number_landmarks(drawing.axes[0], cells[0].panels[0][0].points, schema)
    _add_legends(drawing, schema, observers)
    return drawing


def _relative_height(row: Sequence[Cell]) -> float:
    """Returns the height of the tallest panel of a row, relative to its width."""
    planes = [plane for cell in row for plane in cell.panels[0]]
    ratios = [p.plane.shape[0] * p.aspect / p.plane.shape[1] for p in planes]
    return float(np.clip(max(ratios), 0.3, 2.0))


def _draw_row(
    drawing: figure.Figure,
    row: Sequence[Cell],
    width: float,
    extent: tuple[float, float],
    schema: LandmarkSchema,
) -> None:
    """Draws a row of cells.

    Args:
        drawing: `Figure`.
        row: Sequence of `Cell`.
        width: Float, of a panel, in inches.
        extent: Tuple of two floats, the bottom and the height of the row, in inches.
        schema: `LandmarkSchema`.
    """
    height = drawing.get_figheight()
    bottom, row_height = extent
    panels = len(row[0].panels[0])
    for column, cell in enumerate(row):
        for number, planes in enumerate(zip(*cell.panels, strict=True)):
            axes = drawing.add_axes(
                (
                    (column * panels + number) * width / _WIDTH,
                    bottom / height,
                    0.98 * width / _WIDTH,
                    (row_height - _TITLE_HEIGHT) / height,
                )
            )
            _draw_panel(axes, planes, schema, cell.limits)
            if not number:
                axes.set_title(
                    plain_text(cell.title),
                    color=INK,
                    fontsize=8,
                    pad=3,
                    loc="left",
                    x=0.02,
                )


def _draw_panel(
    axes: Axes,
    planes: Sequence[Projection],
    schema: LandmarkSchema,
    limits: tuple[float, float] | None,
) -> None:
    """Draws one plane of an image and the points of each observer on it."""
    first = planes[0]
    low, high = limits or np.percentile(first.plane[::4, ::4], (0.5, 99.5))
    axes.imshow(
        first.plane,
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        aspect=first.aspect,
        interpolation="antialiased",
    )
    rows, columns = first.plane.shape
    axes.set_xlim(-0.5, columns - 0.5)
    # The z axis points upwards, towards the head.
    upwards = first.axes[1] == 2
    axes.set_ylim(*((-0.5, rows - 0.5) if upwards else (rows - 0.5, -0.5)))
    axes.set_anchor("N")
    axes.set_axis_off()
    colors = landmark_colors(schema)
    axes.add_collection(
        collections.LineCollection(
            [first.points[list(pair)] for pair in schema.links],
            colors="white",
            linewidths=0.6,
            alpha=0.5,
        )
    )
    for observer, plane in enumerate(planes):
        hollow = observer > 0
        axes.scatter(
            plane.points[:, 0],
            plane.points[:, 1],
            s=18 if hollow else 10,
            marker=_MARKERS[observer % len(_MARKERS)],
            facecolors="none" if hollow else colors,
            edgecolors=colors if hollow else "black",
            linewidths=0.8 if hollow else 0.4,
        )


def _number_landmarks(axes: Axes, points: np.ndarray, schema: LandmarkSchema) -> None:
    """Writes the numbers of the legend next to the landmarks of one panel."""
    colors = landmark_colors(schema)
    for number, (point, color) in enumerate(zip(points, colors, strict=True)):
        if not np.isnan(point).any():
            axes.annotate(
                str(number),
                point,
                (3, 2),
                textcoords="offset points",
                color=color,
                fontsize=6,
                annotation_clip=True,
            )


def _add_legends(
    drawing: figure.Figure, schema: LandmarkSchema, observers: Sequence[str]
) -> None:
    colors = landmark_colors(schema)
    handles = [
        lines.Line2D(
            [],
            [],
            marker="o",
            ls="none",
            color=color,
            ms=4,
            label=plain_text(f"{n}: {name}"),
        )
        for n, (name, color) in enumerate(zip(schema.names, colors, strict=True))
    ]
    options: dict[str, Any] = {
        "frameon": False,
        "labelcolor": INK,
        "fontsize": 7.5,
        "handletextpad": 0.1,
        "borderpad": 0.2,
        "labelspacing": 0.25,
    }
    if len(observers) > 1:
        marks = [
            lines.Line2D(
                [],
                [],
                marker=_MARKERS[n % len(_MARKERS)],
                ls="none",
                color=INK,
                fillstyle="none" if n else "full",
                ms=4,
                label=plain_text(name.removeprefix("points_")),
            )
            for n, name in enumerate(observers)
        ]
        drawing.legend(handles=marks, loc="upper right", ncols=len(marks), **options)
    drawing.legend(handles=handles, loc="lower left", ncols=_NAMES_PER_LINE, **options)
