"""Pictures of points and heatmaps on the images that they belong to.

Figures are made without `pyplot`, which keeps state and opens windows. What differs
in meaning differs in shape as well as in colour; colours are those of Okabe and Ito,
which people with any kind of colour vision tell apart.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import keras
import matplotlib
import numpy as np
from matplotlib import collections, colors, figure, lines, patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.array_api import NUMPY
from scn_keras.geometry import (
    affine_from_spacing,
    apply_affine,
    has_usable_spacing,
    spacing_of,
)
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.layers import Upsample
from scn_keras.models import LandmarkEnsemble, LandmarkModel
from scn_keras.pictures.projections import projections

PREDICTED = "#E69F00"
TRUE = "#56B4E9"
_PALETTE = (
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#FFFFFF",
)
_PAPER = "#14181C"
_INK = "#F2F4F5"
_STRIP = 0.3  # inches above and below the image
_HALO = [patheffects.withStroke(linewidth=2.5, foreground="black")]


def landmark_colors(schema: LandmarkSchema) -> tuple[str, ...]:
    """Returns one colour a landmark: the schema's own, or eight that take turns.

    Example:

    >>> landmark_colors(LandmarkSchema(("sella", "nasion")))
    ('#E69F00', '#56B4E9')
    """
    if schema.colors:
        return schema.colors
    return tuple(_PALETTE[i % len(_PALETTE)] for i in range(len(schema)))


def draw_overlay(
    image: np.ndarray,
    schema: LandmarkSchema,
    predicted: np.ndarray,
    true: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    title: str = "",
    radius: float = 2.0,
    named: int = 3,
    margin: float | None = None,
    width: float = 5.0,
    unit: str = "mm",
    radii: np.ndarray | None = None,
) -> figure.Figure:
    """Draws predicted points as dots, and true ones as rings, on their image.

    With a usable affine, or in pixels, the rings have a radius: a dot outside of its
    ring is a miss. The farthest misses are named, with their distance. Of a volume
    the brightest values along each axis are drawn, z upwards, with the names on the
    first of the three planes.

    Args:
        image: Array `((z,) y, x)` of grey values, with or without a last axis of 1.
        schema: `LandmarkSchema`, whose links are drawn between predicted points.
        predicted: Array `(N, D)` in pixels of the image; NaN is not drawn.
        true: Array `(N, D)` likewise, or `None`.
        affine: Array `(D + 1, D + 1)`, pixels to mm, or `None`.
        title: Str.
        radius: Float, in the unit.
        named: Int, how many misses are named at most.
        margin: Float, how much of the image is shown around the points, as a share
            of their extent; `None` for the whole image.
        width: Float, inches.
        unit: `"mm"`, or `"px"` for radius and distances in pixels of the image.
        radii: Array `(N,)` of circles to draw around predicted points, in the unit, or
            in pixels where there is no usable affine; `None` for none.

    Returns:
        A matplotlib `Figure`.

    Example:

    ```python
    drawing = draw_overlay(sample["image"], run.schema, points, sample["points"])
    drawing.savefig("overlay.png")
    ```
    """
    image = _without_channel(image, predicted.shape[-1])
    if unit == "px":
        affine = np.eye(predicted.shape[-1] + 1)
    if affine is not None and not has_usable_spacing(affine, NUMPY):
        affine = None
    distances = None
    if true is not None and affine is not None:
        distances = np.linalg.norm(
            apply_affine(affine, predicted) - apply_affine(affine, true), axis=-1
        )
    views = [
        _view(plane, len(predicted), true is not None, affine, margin)
        for plane in projections(
            image,
            predicted if true is None else np.concatenate([predicted, true]),
            None if affine is None else spacing_of(affine),
        )
    ]
    drawing, panels = _sheet(views, width)
    for view, axes in zip(views, panels, strict=True):
        _show(axes, view.plane)
        axes.set_xlim(view.left, view.right)
        axes.set_ylim(view.bottom, view.top)
        axes.add_collection(
            collections.LineCollection(
                [view.predicted[list(pair)] for pair in schema.links],
                colors="white",
                linewidths=0.6,
                alpha=0.4,
            )
        )
        keys = [_key("predicted", marker="o", color=PREDICTED)]
        if view.true is not None:
            errors = np.stack([view.predicted, view.true], axis=1)
            axes.add_collection(
                collections.LineCollection(
                    list(errors), colors=PREDICTED, linewidths=1.5
                )
            )
            label = _draw_rings(axes, view.true, view.affine, radius, unit)
            keys.append(_key(label, marker="o", color=TRUE, fillstyle="none"))
        if radii is not None:
            affine_or_px = np.eye(3) if view.affine is None else view.affine
            _draw_circles(axes, view.predicted, affine_or_px, radii, PREDICTED)
            keys.append(
                _key("90 % radius", marker="o", color=PREDICTED, fillstyle="none")
            )
        axes.plot(*view.predicted.T, "o", ms=4, mfc=PREDICTED, mec="black", mew=0.5)
    if distances is not None:
        _name_misses(
            panels[0], schema, views[0].predicted, distances, radius, named, unit
        )
    _strips(drawing, panels[0], title, keys, views[0].affine, unit)
    return drawing


def inner_heatmaps(
    model: LandmarkModel | LandmarkEnsemble, image: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the heatmaps of one image at each stage of the network.

    Args:
        model: `LandmarkModel` or `LandmarkEnsemble`.
        image: Array `(*spatial, 1)` as the network sees it.

    Returns:
        Dict of `local appearance`, `spatial configuration` and their `product`,
        arrays `(*spatial, N)` of the image's size; of `heatmaps` alone where the
        network has no layers `local_appearance` and `spatial_configuration`, or the
        model is an ensemble: their mean; of `presence` alone, the probabilities that a
        landmark is in a patch, where patches vote.
    """
    ensemble = isinstance(model, LandmarkEnsemble)
    network = (model.members[0] if ensemble else model).network
    stages = {
        layer.name.replace("_", " "): layer.output
        for layer in network.layers
        if layer.name in ("local_appearance", "spatial_configuration") and not ensemble
    }
    outputs = model(network.inputs[0])
    if isinstance(outputs, dict):  # of `GlobalToLocalNet`
        outputs = outputs["outputs"]
    stride = getattr(network, "heatmap_stride", 1)
    if len(outputs.shape) == np.ndim(image) + 2:
        stages["presence"] = keras.ops.sigmoid(outputs[..., 0])
        stride = network.patch_size
    else:
        stages["product" if stages else "heatmaps"] = outputs
    enlarge = Upsample(stride, "linear", "replicate", dtype="float32")
    if stride > 1:
        stages = {name: enlarge(heatmaps) for name, heatmaps in stages.items()}
    # Not by `predict`, which would compile each of these models for one image.
    heatmaps = keras.Model(network.inputs, stages)([np.asarray(image)[None]])
    return {
        name: keras.ops.convert_to_numpy(heatmaps[name][0]).astype(np.float32)
        for name in stages
    }


def heatmap_figure(
    image: np.ndarray,
    heatmaps: dict[str, np.ndarray],
    schema: LandmarkSchema,
    landmark: int | None = None,
    predicted: np.ndarray | None = None,
    true: np.ndarray | None = None,
    width: float = 9.0,
) -> figure.Figure:
    """Draws local appearance, spatial configuration and product side by side.

    Of all landmarks, the strongest at each pixel is drawn in its colour, relative to
    what it is at the landmark's peak. Of one landmark, positive values are orange and
    negative ones blue, on a scale of each panel's own: where both factors are
    negative, their product is positive. Of a volume, one landmark is drawn on the
    slice z of its peak, and all of them as the largest values along z.

    Args:
        image: Array `(*spatial, 1)` as the network sees it.
        heatmaps: What `inner_heatmaps` returned.
        schema: `LandmarkSchema`.
        landmark: Int for one landmark, `None` for all.
        predicted: Array `(N, D)` in pixels of the grid, to draw as dots, or `None`.
        true: Array `(N, D)` likewise, to draw as rings.
        width: Float, inches.

    Returns:
        A matplotlib `Figure`.
    """
    image = np.asarray(image)[..., 0]
    if image.ndim == 3:
        image, heatmaps = _flat(image, heatmaps, landmark)
        predicted, true = (None if p is None else p[:, :2] for p in (predicted, true))
    rows, columns = image.shape
    panel = width / len(heatmaps)
    height = panel * rows / columns + _STRIP
    drawing = figure.Figure((width, height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(heatmaps)
    product = list(heatmaps.values())[-1]
    flat = product.reshape(-1, product.shape[-1]).argmax(axis=0)
    peaks = np.unravel_index(flat, image.shape)
    for number, (name, maps) in enumerate(heatmaps.items()):
        axes = drawing.add_axes(
            (number * share, 0.0, share * 0.99, 1.0 - _STRIP / height)
        )
        axes.set_axis_off()
        _show(axes, image, dimmed=0.55)
        layer = (
            _all_landmarks(maps, peaks, schema)
            if landmark is None
            else _one_landmark(maps[..., landmark])
        )
        axes.imshow(layer, interpolation="bilinear")
        shown = slice(None) if landmark is None else [landmark]
        if predicted is not None:
            size = 2.0 if landmark is None else 3.5
            axes.plot(*predicted[shown].T, "o", ms=size, mfc=_INK, mec="black", mew=0.4)
        if true is not None:
            axes.plot(*true[shown].T, "o", ms=6.5, mfc="none", mec=_INK, mew=0.7)
        about = ""
        if landmark is not None:
            low, high = maps[..., landmark].min(), maps[..., landmark].max()
            about = f", {low:.2g} to {high:.2g}"
        axes.set_title(f"{name}{about}", color=_INK, fontsize=9, pad=5)
    return drawing


def to_png(drawing: figure.Figure, dpi: int = 140) -> bytes:
    """Returns a figure as the bytes of a PNG file."""
    return _saved(drawing, "png", dpi=dpi)


def to_jpeg(drawing: figure.Figure, dpi: int = 140) -> bytes:
    """Returns a figure as the bytes of a JPEG file, a fourth of a radiograph's PNG."""
    settings = {"quality": 88, "subsampling": 0}
    return _saved(drawing, "jpeg", dpi=dpi, pil_kwargs=settings)


def to_svg(drawing: figure.Figure) -> bytes:
    """Returns a figure as the bytes of an SVG file, the same for the same figure."""
    # Without the salt, the ids inside are drawn at random.
    with matplotlib.rc_context({"svg.hashsalt": "scn-keras"}):
        return _saved(drawing, "svg", metadata={"Date": None})


def _without_channel(image, dimensions):
    image = np.asarray(image)
    return image[..., 0] if image.ndim == dimensions + 1 else image


def _flat(image, heatmaps, landmark):
    """One plane of a volume and of its heatmaps."""
    if landmark is None:
        return image.max(axis=0), {k: v.max(axis=0) for k, v in heatmaps.items()}
    product = list(heatmaps.values())[-1][..., landmark]
    z = np.unravel_index(product.argmax(), product.shape)[0]
    return image[z], {name: maps[z] for name, maps in heatmaps.items()}


def _saved(drawing, format, **settings):
    file = io.BytesIO()
    drawing.savefig(file, format=format, facecolor=drawing.get_facecolor(), **settings)
    return file.getvalue()


class _View(NamedTuple):
    """One plane of an overlay: what is on it, and which part of it is shown."""

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
        """Height and width of what is shown, in columns."""
        return self.aspect * abs(self.bottom - self.top), self.right - self.left


def _view(projection, count, has_true, affine, margin):
    points = projection.points
    left, right, top, bottom = _window(projection.plane.shape, points, margin)
    if 2 in projection.axes:
        top, bottom = bottom, top  # the head above the feet
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


def _window(shape, points, margin):
    """The part of an image to show: its left, right, top and bottom edges."""
    whole = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    points = points[~np.isnan(points).any(axis=-1)]
    if margin is None or not points.size:
        return whole
    low, high = points.min(axis=0), points.max(axis=0)
    around = max(margin * (high - low).max(), 1.0)
    left, top = np.maximum(low - around, (whole[0], whole[2]))
    right, bottom = np.minimum(high + around, (whole[1], whole[3]))
    if left >= right or top >= bottom:  # all of them are outside of the image
        return whole
    return left, right, top, bottom


def _sheet(views: Sequence[_View], width: float):
    """A figure with the views beside each other, equally high."""
    ratios = np.array([columns / rows for rows, columns in (v.shape for v in views)])
    height = width / ratios.sum() + 2 * _STRIP
    drawing = figure.Figure((width, height), facecolor=_PAPER)
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


def _show(axes, image, dimmed=1.0):
    # Without the brightest and darkest half percent: labels and markers of lead.
    low, high = np.percentile(image[::4, ::4], (0.5, 99.5))
    high = low + max(high - low, 1e-6) / dimmed
    axes.imshow(
        image,
        cmap="gray",
        vmin=low,
        vmax=high,
        interpolation="antialiased",
        aspect="auto",  # the panel has the right one
    )


def _draw_rings(axes, true, affine, radius, unit):
    if affine is None:
        axes.plot(*true.T, "o", ms=7, mfc="none", mec=TRUE, mew=1.2)
        return "true"
    _draw_circles(axes, true, affine, np.full(len(true), radius), TRUE)
    return f"true, with {radius:g} {unit} around"


def _draw_circles(axes, centers, affine, radii, color):
    angle = np.linspace(0.0, 2.0 * np.pi, 49)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    outline = circle @ np.linalg.inv(affine[:2, :2]).T
    here = ~np.isnan(centers).any(axis=-1) & np.isfinite(radii)
    axes.add_collection(
        collections.LineCollection(
            centers[here, None] + radii[here, None, None] * outline,
            colors=color,
            linewidths=1.1,
            path_effects=[patheffects.withStroke(linewidth=2.0, foreground="black")],
        )
    )


def _name_misses(axes, schema, predicted, distance, radius, named, unit):
    farthest = np.argsort(-np.nan_to_num(distance))[:named]
    misses = [index for index in farthest if distance[index] >= radius]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    line = 0.035 * abs(top - bottom)
    lowest = -np.inf
    for index in sorted(misses, key=lambda i: predicted[i, 1]):
        x, y = predicted[index]
        inwards = x > 0.5 * (left + right)
        # Names do not cover each other: the next one is at least a line lower.
        lowest = max(y, lowest + line)
        axes.annotate(
            f"{schema.names[index]} {distance[index]:.1f} {unit}",
            (x, y),
            (x + (-0.03 if inwards else 0.03) * abs(right - left), lowest),
            color=_INK,
            fontsize=8.5,
            ha="right" if inwards else "left",
            va="center",
            annotation_clip=False,
            path_effects=_HALO,
        )


def _strips(drawing, axes, title, keys, affine, unit):
    height = drawing.get_figheight()
    middle = 0.5 * _STRIP / height
    drawing.text(
        0.015, 1.0 - middle, title, color=_INK, fontsize=9, ha="left", va="center"
    )
    drawing.legend(
        handles=keys,
        loc="center left",
        bbox_to_anchor=(0.0, middle),
        ncols=len(keys),
        frameon=False,
        labelcolor=_INK,
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.2,
        borderpad=0.0,
    )
    if affine is None:
        return
    # The longest of 1, 2, 5, 10 … mm that takes at most a fourth of the width.
    columns = abs(np.subtract(*axes.get_xlim())) / axes.get_position().width
    limit = 0.25 * columns * spacing_of(affine)[0]
    power = 10.0 ** np.floor(np.log10(limit))
    length = max(power * step for step in (1, 2, 5) if power * step <= limit)
    share = length / spacing_of(affine)[0] / columns
    drawing.add_artist(
        lines.Line2D((0.985 - share, 0.985), (middle, middle), color=_INK, lw=2.0)
    )
    drawing.text(
        0.975 - share,
        middle,
        f"{length:g} {unit}",
        color=_INK,
        fontsize=8,
        ha="right",
        va="center",
    )


def _key(label, **style):
    return lines.Line2D([], [], linestyle="none", markersize=5, label=label, **style)


def _all_landmarks(maps, peaks, schema):
    # Relative to where the product has its peak: there a response may be negative
    # in both factors. Squared, so that what is strong stands out.
    landmarks = np.arange(maps.shape[-1])
    there = maps[(*peaks, landmarks)]
    there = np.where(np.abs(there) < 1e-12, 1e-12, there)
    strength = np.clip(maps / there, 0.0, 1.0) ** 2
    strongest = strength.argmax(axis=-1)[..., None]
    palette = np.array([colors.to_rgb(c) for c in landmark_colors(schema)])
    return np.concatenate(
        [palette[strongest[..., 0]], np.take_along_axis(strength, strongest, -1)],
        axis=-1,
    )


def _one_landmark(heatmap):
    strength = heatmap / max(float(np.abs(heatmap).max()), 1e-12)
    rgb = np.where(
        strength[..., None] > 0.0, colors.to_rgb(PREDICTED), colors.to_rgb(TRUE)
    )
    return np.concatenate([rgb, np.abs(strength)[..., None]], axis=-1)
