"""Pictures of points and heatmaps on the images that they belong to.

Figures are made without `pyplot`, which keeps state and opens windows. What differs
in meaning differs in shape as well as in colour; colours are those of Okabe and Ito,
which people with any kind of colour vision tell apart.
"""

import io
from collections.abc import Sequence

import keras
import matplotlib
import numpy as np
from matplotlib import collections, colors, figure, lines, patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.geometry import apply_affine, spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel

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
) -> figure.Figure:
    """Draws predicted points as dots, and true ones as rings, on their image.

    With a usable affine the rings have a radius in millimetres: a dot outside of its
    ring is a miss. The farthest misses are named, with their distance.

    Args:
        image: Array `(height, width)` or `(height, width, 1)` of grey values.
        schema: `LandmarkSchema`, whose links are drawn between predicted points.
        predicted: Array `(N, 2)` in pixels of the image; NaN is not drawn.
        true: Array `(N, 2)` likewise, or `None`.
        affine: Array `(3, 3)`, pixels to mm, or `None`.
        title: Str.
        radius: Float, mm.
        named: Int, how many misses are named at most.
        margin: Float, how much of the image is shown around the points, as a share
            of their extent; `None` for the whole image.
        width: Float, inches.

    Returns:
        A matplotlib `Figure`.

    Example:

    ```python
    drawing = draw_overlay(sample["image"], run.schema, points, sample["points"])
    drawing.savefig("overlay.png")
    ```
    """
    image = _plane(image)
    if affine is not None and not (spacing_of(affine) > 0.0).all():
        affine = None
    left, right, top, bottom = _window(image.shape, (predicted, true), margin)
    drawing, axes = _sheet((bottom - top, right - left), width)
    _show(axes, image)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.add_collection(
        collections.LineCollection(
            [predicted[list(pair)] for pair in schema.links],
            colors="white",
            linewidths=0.6,
            alpha=0.4,
        )
    )
    keys = [_key("predicted", marker="o", color=PREDICTED)]
    if true is not None:
        errors = np.stack([predicted, true], axis=1)
        axes.add_collection(
            collections.LineCollection(list(errors), colors=PREDICTED, linewidths=1.5)
        )
        label = _draw_rings(axes, true, affine, radius)
        keys.append(_key(label, marker="o", color=TRUE, fillstyle="none"))
    axes.plot(*predicted.T, "o", ms=4, mfc=PREDICTED, mec="black", mew=0.5)
    if true is not None and affine is not None:
        _name_misses(axes, schema, predicted, true, affine, radius, named)
    _strips(drawing, axes, title, keys, affine)
    return drawing


def inner_heatmaps(model: LandmarkModel, image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the heatmaps of one image at each stage of the network.

    Args:
        model: `LandmarkModel` whose network has layers `local_appearance` and
            `spatial_configuration`.
        image: Array `(rows, columns, 1)` as the network sees it.

    Returns:
        Dict of `local appearance`, `spatial configuration` and their `product`,
        arrays `(rows, columns, N)`.
    """
    network = model.network
    stages = keras.Model(
        network.inputs,
        [
            network.get_layer("local_appearance").output,
            network.get_layer("spatial_configuration").output,
            network.outputs[0],
        ],
    )
    names = ("local appearance", "spatial configuration", "product")
    heatmaps = stages.predict_on_batch(np.asarray(image)[None])
    return {
        name: np.asarray(heatmap[0], np.float32)
        for name, heatmap in zip(names, heatmaps, strict=True)
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
    negative, their product is positive.

    Args:
        image: Array `(rows, columns, 1)` as the network sees it.
        heatmaps: What `inner_heatmaps` returned.
        schema: `LandmarkSchema`.
        landmark: Int for one landmark, `None` for all.
        predicted: Array `(N, 2)` in pixels of the grid, to draw as dots, or `None`.
        true: Array `(N, 2)` likewise, to draw as rings.
        width: Float, inches.

    Returns:
        A matplotlib `Figure`.
    """
    image = _plane(image)
    rows, columns = image.shape
    panel = width / len(heatmaps)
    height = panel * rows / columns + _STRIP
    drawing = figure.Figure((width, height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(heatmaps)
    product = heatmaps["product"]
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


def _plane(image):
    image = np.asarray(image)
    return image[..., 0] if image.ndim == 3 else image


def _saved(drawing, format, **settings):
    file = io.BytesIO()
    drawing.savefig(file, format=format, facecolor=drawing.get_facecolor(), **settings)
    return file.getvalue()


def _window(shape, points, margin):
    """The part of an image to show: its left, right, top and bottom edges."""
    whole = (-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5)
    points = np.concatenate([p for p in points if p is not None])
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


def _sheet(shape: Sequence[int], width: float):
    height = width * shape[0] / shape[1] + 2 * _STRIP
    drawing = figure.Figure((width, height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    axes = drawing.add_axes((0.0, _STRIP / height, 1.0, 1.0 - 2 * _STRIP / height))
    axes.set_axis_off()
    return drawing, axes


def _show(axes, image, dimmed=1.0):
    # Without the brightest and darkest half percent: labels and markers of lead.
    low, high = np.percentile(image[::4, ::4], (0.5, 99.5))
    high = low + max(high - low, 1e-6) / dimmed
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")


def _draw_rings(axes, true, affine, radius):
    if affine is None:
        axes.plot(*true.T, "o", ms=7, mfc="none", mec=TRUE, mew=1.2)
        return "true"
    angle = np.linspace(0.0, 2.0 * np.pi, 49)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    outline = circle @ np.linalg.inv(affine[:2, :2]).T
    here = true[~np.isnan(true).any(axis=-1)]
    axes.add_collection(
        collections.LineCollection(
            here[:, None] + outline,
            colors=TRUE,
            linewidths=1.1,
            path_effects=[patheffects.withStroke(linewidth=2.0, foreground="black")],
        )
    )
    return f"true, with {radius:g} mm around"


def _name_misses(axes, schema, predicted, true, affine, radius, named):
    distance = np.linalg.norm(
        apply_affine(affine, predicted) - apply_affine(affine, true), axis=-1
    )
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
            f"{schema.names[index]} {distance[index]:.1f} mm",
            (x, y),
            (x + (-0.03 if inwards else 0.03) * abs(right - left), lowest),
            color=_INK,
            fontsize=8.5,
            ha="right" if inwards else "left",
            va="center",
            annotation_clip=False,
            path_effects=_HALO,
        )


def _strips(drawing, axes, title, keys, affine):
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
    columns = abs(np.subtract(*axes.get_xlim()))
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
        f"{length:g} mm",
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
