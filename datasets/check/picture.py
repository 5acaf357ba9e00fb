import io
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.datasets.check.finding import Finding, View
from scn_keras.datasets.check.reading import outside
from scn_keras.geometry import spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures.projections import Projection, project_to_planes

# Of Okabe and Ito, told apart with any kind of colour vision; and unlike in shape.
_AS_IS, _EXPECTED = "#E69F00", "#56B4E9"
_PAPER, _INK = "#14181C", "#F2F4F5"
_HALO = [patheffects.withStroke(linewidth=2.2, foreground="black")]
_PANEL = 3.4  # inches
_TITLE = 0.26
_LEAST = 24.0  # pixels around a landmark


def picture(finding: Finding, schema: LandmarkSchema) -> bytes | None:
    """Draws what a finding is about, as the bytes of a PNG file.

    Points as they are are dots, where they should be is a ring. A volume is shown
    along three axes.

    Args:
        finding: `Finding`.
        schema: `LandmarkSchema`.

    Returns:
        Bytes, or None if there is nothing to show or the image cannot be read.
    """
    panels: list[_Panel] = []
    for view in finding.views:
        try:
            image, affine = view.case.read_image()
        except ValueError:
            return None
        points = view.points
        if points is None:
            points = np.full((0, image.ndim), np.nan)
        around = None
        if len(view.landmarks) == 1:
            (around,) = points[list(view.landmarks)]
            if outside(around[None], image.shape[::-1]).any():
                around = None
        expected = view.expected
        if expected is None:
            expected = np.full_like(points, np.nan)
        for seen, goal in zip(
            project_to_planes(image, points, spacing_of(affine), around),
            project_to_planes(image, expected, spacing_of(affine), around),
            strict=True,
        ):
            title = view.case.id
            if image.ndim == 3:
                title += f", along {'xyz'[3 - sum(seen.axes)]}"
            panels.append(_Panel(view, title, seen, goal.points))
    return _drawn(panels, schema) if panels else None


class _Panel(NamedTuple):
    view: View
    title: str
    seen: Projection
    expected: np.ndarray


def _drawn(panels: Sequence[_Panel], schema: LandmarkSchema) -> bytes:
    windows = [_window(panel) for panel in panels]
    tallest = max(
        (bottom - top) * panel.seen.aspect / (right - left)
        for panel, (left, right, top, bottom) in zip(panels, windows, strict=True)
    )
    height = _PANEL * float(np.clip(tallest, 0.4, 1.6)) + _TITLE
    drawing = figure.Figure((_PANEL * len(panels), height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(panels)
    for number, (panel, window) in enumerate(zip(panels, windows, strict=True)):
        axes = drawing.add_axes(
            (number * share, 0.0, 0.99 * share, 1.0 - _TITLE / height)
        )
        _draw(axes, panel, window, schema)
    file = io.BytesIO()
    # Without the version of matplotlib: the same finding gives the same bytes.
    drawing.savefig(
        file, format="png", dpi=110, facecolor=_PAPER, metadata={"Software": None}
    )
    return file.getvalue()


def _draw(
    axes: Axes, panel: _Panel, window: tuple[float, ...], schema: LandmarkSchema
) -> None:
    left, right, top, bottom = window
    plane, points = panel.seen.plane, panel.seen.points
    shown = plane[
        max(int(top), 0) : max(int(bottom), 0) + 2,
        max(int(left), 0) : max(int(right), 0) + 2,
    ]
    shown = shown if shown.size else plane
    thin = max(shown.shape) // 400 + 1
    low, high = np.percentile(shown[::thin, ::thin], (0.5, 99.5))
    axes.imshow(
        plane,
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        aspect=panel.seen.aspect,
        interpolation="antialiased",
    )
    axes.set_xlim(left, right)
    # Upwards is towards the head, along z in space.
    axes.set_ylim((top, bottom) if panel.seen.axes[1] == 2 else (bottom, top))
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_title(panel.title, color=_INK, fontsize=9, pad=4)
    chosen = list(panel.view.landmarks)
    if chosen:
        axes.plot(*points.T, ".", color=_INK, ms=3, alpha=0.6)
    here = points[chosen] if chosen else points
    there = panel.expected[chosen] if chosen else panel.expected
    axes.plot(*here.T, "o", ms=4.5, mfc=_AS_IS, mec="black", mew=0.5)
    axes.plot(*there.T, "o", ms=8, mfc="none", mec=_EXPECTED, mew=1.3)
    for index in chosen:
        # Of two that are close, each has its name on its own side.
        leftmost = points[index, 0] < np.nanmean(here[:, 0])
        axes.annotate(
            textwrap.fill(schema.names[index], 16),
            points[index],
            (-8 if leftmost else 8, 0),
            textcoords="offset points",
            color=_AS_IS,
            fontsize=8,
            ha="right" if leftmost else "left",
            va="center",
            annotation_clip=False,
            path_effects=_HALO,
        )


def _window(panel: _Panel) -> tuple[float, float, float, float]:
    """The part to show: its left, right, top and bottom edges, in pixels."""
    view, _, seen, expected = panel
    rows, columns = seen.plane.shape
    whole = np.array([[-0.5, -0.5], [columns - 0.5, rows - 0.5]])
    chosen = list(view.landmarks) or slice(None)
    marks = np.concatenate([seen.points[chosen], expected[chosen]])
    marks = marks[~np.isnan(marks).any(axis=-1)]
    off = ((marks < whole[0]) | (marks > whole[1])).any()
    if view.landmarks and not off:
        middle = 0.5 * (marks.min(axis=0) + marks.max(axis=0))
        reach = np.ptp(marks, axis=0).max()
        half = max(1.2 * reach, 0.06 * max(rows, columns), _LEAST)
        low, high = middle - half, middle + half
    else:
        # All of the image, and of what lies outside of it no more than as much.
        marks = np.clip(marks, -0.9 * whole[1], 1.9 * whole[1])
        corners = np.concatenate([whole, marks])
        margin = 0.03 * max(rows, columns) if off else 0.0
        low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])
