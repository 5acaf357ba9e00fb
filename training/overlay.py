"""Pictures of points and heatmaps on the images that they belong to.

Figures are made without `pyplot`, which keeps state and opens windows. What differs
in meaning differs in shape as well as in colour; colours are those of Okabe and Ito,
which people with any kind of colour vision tell apart.
"""

import io
from collections.abc import Sequence

import keras
import numpy as np
from matplotlib import collections, colors, figure, lines, patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scn_keras.geometry import apply_affine, spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.models import LandmarkModel

FOUND = "#E69F00"
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


def overlay(
    image: np.ndarray,
    schema: LandmarkSchema,
    found: np.ndarray,
    true: np.ndarray | None = None,
    affine: np.ndarray | None = None,
    title: str = "",
    radius: float = 2.0,
    named: int = 3,
    width: float = 5.0,
) -> figure.Figure:
    """Draws found points as dots, and true ones as rings, on their image.

    With a usable affine the rings have a radius in millimetres: a dot outside of its
    ring is a miss. The farthest misses are named, with their distance.

    Args:
        image: Array `(height, width)` or `(height, width, 1)` of grey values.
        schema: `LandmarkSchema`, whose links are drawn between the found points.
        found: Array `(N, 2)` in pixels of the image; NaN is not drawn.
        true: Array `(N, 2)` likewise, or `None`.
        affine: Array `(3, 3)`, pixels to mm, or `None`.
        title: Str.
        radius: Float, mm.
        named: Int, how many misses are named at most.
        width: Float, inches.

    Returns:
        A matplotlib `Figure`.

    Example:

    ```python
    drawing = overlay(sample["image"], run.schema, found, sample["points"])
    drawing.savefig("overlay.png")
    ```
    """
    image = np.asarray(image).reshape(np.shape(image)[:2])
    if affine is not None and not (spacing_of(affine) > 0.0).all():
        affine = None
    drawing, axes = _sheet(image.shape, width)
    _show(axes, image)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.add_collection(
        collections.LineCollection(
            [found[list(pair)] for pair in schema.links],
            colors="white",
            linewidths=0.6,
            alpha=0.4,
        )
    )
    keys = [_key("found", marker="o", color=FOUND)]
    if true is not None:
        errors = np.stack([found, true], axis=1)
        axes.add_collection(
            collections.LineCollection(errors, colors=FOUND, linewidths=1.1)
        )
        label = _draw_rings(axes, true, affine, radius)
        keys.append(_key(label, marker="o", color=TRUE, fillstyle="none"))
    axes.plot(*found.T, "o", ms=3.2, mfc=FOUND, mec="black", mew=0.5)
    if true is not None and affine is not None:
        _name_misses(axes, schema, found, true, affine, radius, named)
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
    width: float = 9.0,
) -> figure.Figure:
    """Draws local appearance, spatial configuration and product side by side.

    Of all landmarks, the strongest at each pixel is drawn in its colour, every
    landmark on a scale of its own. Of one landmark, each panel has its own scale,
    from 0 (nothing drawn) to its maximum. Negative values are not drawn.

    Args:
        image: Array `(rows, columns, 1)` as the network sees it.
        heatmaps: What `inner_heatmaps` returned.
        schema: `LandmarkSchema`.
        landmark: Int for one landmark, `None` for all.
        width: Float, inches.

    Returns:
        A matplotlib `Figure`.
    """
    image = np.asarray(image).reshape(np.shape(image)[:2])
    rows, columns = image.shape
    panel = width / len(heatmaps)
    height = panel * rows / columns + _STRIP
    drawing = figure.Figure((width, height), facecolor=_PAPER)
    FigureCanvasAgg(drawing)
    share = 1.0 / len(heatmaps)
    for number, (name, maps) in enumerate(heatmaps.items()):
        axes = drawing.add_axes(
            (number * share, 0.0, share * 0.99, 1.0 - _STRIP / height)
        )
        axes.set_axis_off()
        _show(axes, image, dimmed=0.55)
        layer = (
            _all_landmarks(maps, schema)
            if landmark is None
            else _one_landmark(maps[..., landmark])
        )
        axes.imshow(layer, interpolation="bilinear")
        about = "" if landmark is None else f", up to {maps[..., landmark].max():.3g}"
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
    return _saved(drawing, "svg", metadata={"Date": None})


def _saved(drawing, format, **settings):
    file = io.BytesIO()
    drawing.savefig(file, format=format, facecolor=drawing.get_facecolor(), **settings)
    return file.getvalue()


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


def _name_misses(axes, schema, found, true, affine, radius, named):
    distance = np.linalg.norm(
        apply_affine(affine, found) - apply_affine(affine, true), axis=-1
    )
    farthest = np.argsort(-np.nan_to_num(distance))[:named]
    misses = [index for index in farthest if distance[index] >= radius]
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    line = 0.03 * abs(top - bottom)
    lowest = -np.inf
    for index in sorted(misses, key=lambda i: found[i, 1]):
        x, y = found[index]
        inwards = x > 0.5 * (left + right)
        # Names do not cover each other: the next one is at least a line lower.
        lowest = max(y, lowest + line)
        axes.annotate(
            f"{schema.names[index]} {distance[index]:.1f} mm",
            (x, y),
            (x + (-0.03 if inwards else 0.03) * abs(right - left), lowest),
            color=_INK,
            fontsize=7.5,
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


def _all_landmarks(maps, schema):
    top = np.maximum(maps.max(axis=(0, 1)), 1e-12)
    strength = np.clip(maps / top, 0.0, 1.0)
    strongest = strength.argmax(axis=-1)
    palette = np.array([colors.to_rgb(c) for c in landmark_colors(schema)])
    return np.concatenate(
        [palette[strongest], np.take_along_axis(strength, strongest[..., None], -1)],
        axis=-1,
    )


def _one_landmark(heatmap):
    strength = np.clip(heatmap / max(float(heatmap.max()), 1e-12), 0.0, 1.0)
    layer = np.empty((*heatmap.shape, 4))
    layer[..., :3] = colors.to_rgb(FOUND)
    layer[..., 3] = strength
    return layer
