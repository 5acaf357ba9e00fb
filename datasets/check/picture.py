import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.datasets.case import reading_stored_pixels
from scn_keras.datasets.check.finding import Finding, View
from scn_keras.datasets.check.reading import outside
from scn_keras.geometry import spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures.projections import Projection, project_to_planes
from scn_keras.pictures.style import INK, PAPER, PREDICTED, TRUE, halo, plain_text

_AS_IS, _EXPECTED = PREDICTED, TRUE
_DPI = 120
_PANEL = 3.4  # inches
PANEL_PIXELS = int(_PANEL * _DPI)
_TITLE = 0.26
_MIN_MARGIN = 24.0  # pixels around a landmark


def draw_finding(finding: Finding, schema: LandmarkSchema) -> bytes | None:
    """Draws the images and points of a finding as the bytes of a PNG file.

    The points as they are are dots, the expected positions are rings. A volume is
    shown along its three axes.

    Args:
        finding: `Finding`.
        schema: `LandmarkSchema`.

    Returns:
        Bytes; None if there is nothing to show or an image cannot be read.
    """
    panels: list[_Panel] = []
    for view in finding.views:
        try:
            with reading_stored_pixels():
                image, affine = view.case.read_image()
        except ValueError:
            return None
        panels += _panels(view, image, spacing_of(affine))
    return _draw(panels, schema) if panels else None


class _Panel(NamedTuple):
    view: View
    title: str
    projection: Projection
    expected: np.ndarray


def _panels(view: View, image: np.ndarray, spacing: np.ndarray) -> Iterator[_Panel]:
    points, expected = view.points, view.expected
    if points is None:
        points = np.full((0, image.ndim), np.nan)
    if expected is None:
        expected = np.full_like(points, np.nan)
    around = None
    if len(view.landmarks) == 1:
        (around,) = points[list(view.landmarks)]
        if outside(around[None], image.shape[::-1]).any():
            around = None
    for plane, expected_plane in zip(
        project_to_planes(image, points, spacing, around),
        project_to_planes(image, expected, spacing, around),
        strict=True,
    ):
        title = view.case.id
        if image.ndim == 3:
            title += f", along {'xyz'[3 - sum(plane.axes)]}"
        yield _Panel(view, title, plane, expected_plane.points)


def _draw(panels: Sequence[_Panel], schema: LandmarkSchema) -> bytes:
    windows = [_window(panel) for panel in panels]
    tallest = max(
        (bottom - top) * panel.projection.aspect / (right - left)
        for panel, (left, right, top, bottom) in zip(panels, windows, strict=True)
    )
    height = _PANEL * float(np.clip(tallest, 0.4, 1.6)) + _TITLE
    drawing = figure.Figure((_PANEL * len(panels), height), facecolor=PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(panels)
    for number, (panel, window) in enumerate(zip(panels, windows, strict=True)):
        axes = drawing.add_axes(
            (number * share, 0.0, 0.99 * share, 1.0 - _TITLE / height)
        )
        _draw_plane(axes, panel, window)
        _draw_points(axes, panel, schema)
    file = io.BytesIO()
    # Without the version of matplotlib, so that the same finding gives the same bytes.
    drawing.savefig(
        file, format="png", dpi=_DPI, facecolor=PAPER, metadata={"Software": None}
    )
    return file.getvalue()


def _draw_plane(axes: Axes, panel: _Panel, window: tuple[float, ...]) -> None:
    left, right, top, bottom = window
    plane = panel.projection.plane
    shown = plane[
        max(int(top), 0) : max(int(bottom), 0) + 2,
        max(int(left), 0) : max(int(right), 0) + 2,
    ]
    shown = shown if shown.size else plane
    step = max(shown.shape) // 400 + 1
    low, high = np.percentile(shown[::step, ::step], (0.5, 99.5))
    axes.imshow(
        plane,
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        aspect=panel.projection.aspect,
        interpolation="antialiased",
    )
    axes.set_xlim(left, right)
    # Along z, the head is at the top.
    upwards = panel.projection.axes[1] == 2
    axes.set_ylim((top, bottom) if upwards else (bottom, top))
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_title(plain_text(panel.title), color=INK, fontsize=9, pad=4)


def _draw_points(axes: Axes, panel: _Panel, schema: LandmarkSchema) -> None:
    points, expected = panel.projection.points, panel.expected
    chosen = list(panel.view.landmarks)
    if chosen:
        axes.plot(*points.T, ".", color=INK, ms=3, alpha=0.6)
    rows = chosen or slice(None)
    axes.plot(*points[rows].T, "o", ms=4.5, mfc=_AS_IS, mec="black", mew=0.5)
    axes.plot(*expected[rows].T, "o", ms=8, mfc="none", mec=_EXPECTED, mew=1.3)
    for index in chosen:
        # The names of two landmarks that are close are on either side of them.
        leftmost = points[index, 0] < np.nanmean(points[rows][:, 0])
        axes.annotate(
            textwrap.fill(plain_text(schema.names[index]), 16),
            points[index],
            (-8 if leftmost else 8, 0),
            textcoords="offset points",
            color=_AS_IS,
            fontsize=8,
            ha="right" if leftmost else "left",
            va="center",
            annotation_clip=False,
            path_effects=halo(2.2),
        )


def _window(panel: _Panel) -> tuple[float, float, float, float]:
    """The part to show: its left, right, top and bottom edges, in pixels."""
    view, _, projection, expected = panel
    rows, columns = projection.plane.shape
    whole = np.array([[-0.5, -0.5], [columns - 0.5, rows - 0.5]])
    chosen = list(view.landmarks) or slice(None)
    marks = np.concatenate([projection.points[chosen], expected[chosen]])
    marks = marks[~np.isnan(marks).any(axis=-1)]
    outside_image = ((marks < whole[0]) | (marks > whole[1])).any()
    if view.landmarks and not outside_image:
        center = 0.5 * (marks.min(axis=0) + marks.max(axis=0))
        extent = np.ptp(marks, axis=0).max()
        middle = whole.mean(axis=0)
        half = max(1.2 * extent, 0.06 * max(rows, columns), _MIN_MARGIN)
        # Within the image, as far as it is large enough.
        center = np.clip(
            center,
            np.minimum(whole[0] + half, middle),
            np.maximum(whole[1] - half, middle),
        )
        low, high = center - half, center + half
    else:
        # All of the image, and at most as much again around it.
        marks = np.clip(marks, -0.9 * whole[1], 1.9 * whole[1])
        corners = np.concatenate([whole, marks])
        margin = 0.03 * max(rows, columns) if outside_image else 0.0
        low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])
