"""Overlays of predicted and true points on an image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import collections, figure, lines
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.array_api import NUMPY
from scn_keras.geometry import (
    affine_from_spacing,
    apply_affine,
    has_usable_spacing,
    spacing_of,
)
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures.overlay_options import OverlayOptions
from scn_keras.pictures.projections import Projection, project_to_planes
from scn_keras.pictures.style import (
    INK,
    PAPER,
    PREDICTED,
    TRUE,
    draw_image,
    halo,
    plain_text,
)

_STRIP = 0.3  # inches above and below the image, for the title and the legend


def draw_overlay(
    image: np.ndarray,
    schema: LandmarkSchema,
    predicted: np.ndarray,
    true: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    predicted_radii: np.ndarray | None = None,
    options: OverlayOptions | None = None,
) -> figure.Figure:
    """Draws predicted points as dots and true points as rings on their image.

    With a usable affine or with the unit `"px"`, the rings have the radius of the
    options and the largest errors are labelled. A volume is drawn as its maximum
    projections along the three axes, z upwards, with the labels on the first of them.

    Args:
        image: Array `((z,) y, x)` of grey values, with or without a last axis of 1.
        schema: `LandmarkSchema`, whose links are drawn between predicted points.
        predicted: Array `(N, D)` in pixels of the image; NaN rows are not drawn.
        true: Array `(N, D)` in pixels of the image, or `None`.
        affine: Array `(D + 1, D + 1)`, pixels to mm, or `None`.
        predicted_radii: Array `(N,)`, radii of circles around the predicted points, in
            the unit of the options, or in pixels without a usable affine; `None` for
            no circles.
        options: `OverlayOptions`; `None` for the defaults.

    Returns:
        A matplotlib `Figure`, created without the global state of `pyplot`.

    Example:

    ```python
    figure = draw_overlay(sample["image"], run.schema, points, sample["points"])
    figure.savefig("overlay.png")
    ```
    """
    options = options or OverlayOptions()
    image = np.asarray(image)
    if image.ndim == predicted.shape[-1] + 1:
        image = image[..., 0]
    if options.unit == "px":
        affine = np.eye(predicted.shape[-1] + 1)
    if affine is not None and not has_usable_spacing(affine, NUMPY):
        affine = None
    planes = project_to_planes(
        image,
        predicted if true is None else np.concatenate([predicted, true]),
        None if affine is None else spacing_of(affine),
    )
    views = [
        _view(plane, len(predicted), true is not None, affine, options.margin)
        for plane in planes
    ]
    drawing, panels = _new_figure(views, options.width)
    for view, axes in zip(views, panels, strict=True):
        keys = _draw_view(axes, view, schema, predicted_radii, options)
    if true is not None and affine is not None:
        distances = np.linalg.norm(
            apply_affine(affine, predicted) - apply_affine(affine, true), axis=-1
        )
        _label_misses(panels[0], schema, views[0].predicted, distances, options)
    _draw_title_and_legend(drawing, options.title, keys)
    if views[0].affine is not None:
        _draw_scale_bar(drawing, panels[0], spacing_of(views[0].affine)[0], options)
    return drawing


class _View(NamedTuple):
    """One plane of an overlay: its content and its visible part."""

    plane: np.ndarray
    predicted: np.ndarray
    true: np.ndarray | None
    affine: np.ndarray | None
    left: float
    right: float
    bottom: float
    top: float
    aspect: float

    @property
    def shape(self) -> tuple[float, float]:
        """The height and width of the visible part, in columns."""
        return self.aspect * abs(self.bottom - self.top), self.right - self.left


def _view(
    projection: Projection,
    count: int,
    has_true: bool,
    affine: np.ndarray | None,
    margin: float | None,
) -> _View:
    points = projection.points
    left, right, top, bottom = _window(projection.plane.shape, points, margin)
    if 2 in projection.axes:
        top, bottom = bottom, top  # z upwards, the head above the feet
    if affine is not None and len(affine) == 4:
        affine = affine_from_spacing(spacing_of(affine)[list(projection.axes)])
    return _View(
        projection.plane,
        points[:count],
        points[count:] if has_true else None,
        affine,
        left,
        right,
        bottom,
        top,
        projection.aspect,
    )


def _window(
    shape: Sequence[int], points: np.ndarray, margin: float | None
) -> tuple[float, float, float, float]:
    """Returns the left, right, top and bottom edges of the visible part of an image."""
    whole = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    points = points[~np.isnan(points).any(axis=-1)]
    if margin is None or not points.size:
        return whole
    low, high = points.min(axis=0), points.max(axis=0)
    around = max(margin * (high - low).max(), 1.0)
    left, top = np.maximum(low - around, (whole[0], whole[2]))
    right, bottom = np.minimum(high + around, (whole[1], whole[3]))
    if left >= right or top >= bottom:  # all points are outside the image
        return whole
    return left, right, top, bottom


def _new_figure(
    views: Sequence[_View], width: float
) -> tuple[figure.Figure, list[Axes]]:
    """Returns a figure with panels of equal height side by side, one per view."""
    ratios = np.array([columns / rows for rows, columns in (v.shape for v in views)])
    height = width / ratios.sum() + 2 * _STRIP
    drawing = figure.Figure((width, height), facecolor=PAPER)
    FigureCanvasAgg(drawing)
    edges = np.concatenate([[0.0], np.cumsum(ratios) / ratios.sum()])
    panels = []
    for left, right in zip(edges, edges[1:], strict=False):
        axes = drawing.add_axes(
            (left, _STRIP / height, right - left, 1.0 - 2 * _STRIP / height)
        )
        axes.set_axis_off()
        panels.append(axes)
    return drawing, panels


def _draw_view(
    axes: Axes,
    view: _View,
    schema: LandmarkSchema,
    predicted_radii: np.ndarray | None,
    options: OverlayOptions,
) -> list[lines.Line2D]:
    """Draws the image and the points of one view; returns the keys of the legend."""
    draw_image(axes, view.plane)
    axes.set_xlim(view.left, view.right)
    axes.set_ylim(view.bottom, view.top)
    links = [view.predicted[list(pair)] for pair in schema.links]
    axes.add_collection(
        collections.LineCollection(links, colors="white", linewidths=0.6, alpha=0.4)
    )
    keys = [_key("predicted", PREDICTED)]
    if view.true is not None:
        errors = np.stack([view.predicted, view.true], axis=1)
        axes.add_collection(
            collections.LineCollection(list(errors), colors=PREDICTED, linewidths=1.5)
        )
        label = _draw_rings(axes, view.true, view.affine, options)
        keys.append(_key(label, TRUE, fillstyle="none"))
    if predicted_radii is not None:
        affine_or_px = np.eye(3) if view.affine is None else view.affine
        _draw_circles(axes, view.predicted, affine_or_px, predicted_radii, PREDICTED)
        keys.append(_key("90 % radius", PREDICTED, fillstyle="none"))
    axes.plot(*view.predicted.T, "o", ms=4, mfc=PREDICTED, mec="black", mew=0.5)
    return keys


def _draw_rings(
    axes: Axes, true: np.ndarray, affine: np.ndarray | None, options: OverlayOptions
) -> str:
    """Draws rings around true points; returns their label for the legend."""
    if affine is None:
        axes.plot(*true.T, "o", ms=7, mfc="none", mec=TRUE, mew=1.2)
        return "true"
    _draw_circles(axes, true, affine, np.full(len(true), options.radius), TRUE)
    return f"true, {options.radius:g} {options.unit} radius"


def _draw_circles(
    axes: Axes, centers: np.ndarray, affine: np.ndarray, radii: np.ndarray, color: str
) -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 49)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    outline = circle @ np.linalg.inv(affine[:2, :2]).T
    drawn = ~np.isnan(centers).any(axis=-1) & np.isfinite(radii)
    axes.add_collection(
        collections.LineCollection(
            centers[drawn, None] + radii[drawn, None, None] * outline,
            colors=color,
            linewidths=1.1,
            path_effects=halo(2.0),
        )
    )


def _label_misses(
    axes: Axes,
    schema: LandmarkSchema,
    predicted: np.ndarray,
    distance: np.ndarray,
    options: OverlayOptions,
) -> None:
    farthest = np.argsort(-np.nan_to_num(distance))[: options.max_named]
    misses = [index for index in farthest if distance[index] >= options.radius]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    line = 0.035 * abs(top - bottom)
    lowest = -np.inf
    for index in sorted(misses, key=lambda i: predicted[i, 1]):
        x, y = predicted[index]
        inwards = x > 0.5 * (left + right)
        # Each label is at least one line lower than the last, so that none overlap.
        lowest = max(y, lowest + line)
        axes.annotate(
            plain_text(f"{schema.names[index]} {distance[index]:.1f} {options.unit}"),
            (x, y),
            (x + (-0.03 if inwards else 0.03) * abs(right - left), lowest),
            color=INK,
            fontsize=8.5,
            ha="right" if inwards else "left",
            va="center",
            annotation_clip=False,
            path_effects=halo(2.5),
        )


def _draw_title_and_legend(
    drawing: figure.Figure, title: str, keys: Sequence[lines.Line2D]
) -> None:
    """Fills the strips above and below the image."""
    middle = 0.5 * _STRIP / drawing.get_figheight()
    drawing.text(
        0.015,
        1.0 - middle,
        plain_text(title),
        color=INK,
        fontsize=9,
        ha="left",
        va="center",
    )
    drawing.legend(
        handles=keys,
        loc="center left",
        bbox_to_anchor=(0.0, middle),
        ncols=len(keys),
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.2,
        borderpad=0.0,
    )


def _draw_scale_bar(
    drawing: figure.Figure, axes: Axes, spacing: float, options: OverlayOptions
) -> None:
    """Draws a bar of 1, 2, 5, 10, ... units, at most a quarter of the width."""
    middle = 0.5 * _STRIP / drawing.get_figheight()
    columns = abs(np.subtract(*axes.get_xlim())) / axes.get_position().width
    limit = 0.25 * columns * spacing
    power = 10.0 ** np.floor(np.log10(limit))
    length = max(power * step for step in (1, 2, 5) if power * step <= limit)
    share = length / spacing / columns
    drawing.add_artist(
        lines.Line2D((0.985 - share, 0.985), (middle, middle), color=INK, lw=2.0)
    )
    drawing.text(
        0.975 - share,
        middle,
        f"{length:g} {options.unit}",
        color=INK,
        fontsize=8,
        ha="right",
        va="center",
    )


def _key(label: str, color: str, **style: Any) -> lines.Line2D:
    return lines.Line2D(
        *([], []),
        linestyle="none",
        marker="o",
        markersize=5,
        color=color,
        label=label,
        **style,
    )
