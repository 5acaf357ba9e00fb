"""The sections of the page of an explanation."""

import html
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from matplotlib import figure

from scn_keras.pictures import draw_network
from scn_keras.saved_models.explaining import texts
from scn_keras.saved_models.explaining.evidence_figures import (
    draw_influence,
    draw_occluded,
    draw_peak,
    shifts,
)
from scn_keras.saved_models.explaining.explanation import Explanation
from scn_keras.saved_models.explaining.figures import (
    draw_all_heatmaps,
    draw_features,
    draw_images,
    draw_landmark,
)
from scn_keras.training.report.fragments import table


class Picture(NamedTuple):
    """A figure of a section.

    Attributes:
        caption: Str, or `""`.
        drawing: Matplotlib `Figure`.
        kind: Str: `"photo"`, `"plane"` for one of three planes of a volume, `"chart"`
            for lines and large pixels, or `"matrix"` for all pairs of landmarks.
    """

    caption: str
    drawing: figure.Figure
    kind: str = "photo"


class Part(NamedTuple):
    """A section of the page.

    Attributes:
        title: Str.
        text: Str, sentences with code in backquotes.
        pictures: List of `Picture`.
        content: Str, HTML above the pictures.
    """

    title: str
    text: str
    pictures: list[Picture]
    content: str = ""


def parts_of(explanation: Explanation) -> Iterator[Part]:
    """Yields the sections, from the file to millimetres.

    Args:
        explanation: `Explanation`.
    """
    names = explanation.schema.names
    yield Part(
        "From the file to the grid",
        f"{texts.images_text(explanation)} The landmarks shown in detail are orange.",
        [Picture("", draw_images(explanation))],
    )
    drawing = draw_network(
        explanation.network,
        explanation.grid_image.shape[:-1],
        type(explanation.network).__name__,
    )
    yield Part(
        "The network",
        "Each shape is a layer, in the row of its resolution. Above it is the number "
        "of its channels, below it the size of its kernel. Point at it for its name.",
        [],
        f'<div class="wide drawing">{drawing}</div>',
    )
    if explanation.features:
        depth = _depth(explanation)
        yield Part(
            "Features",
            "The last features of each resolution before the heatmaps, the four "
            "channels with the largest contrast. Fine levels respond to edges and "
            "corners, coarse levels to larger structures.",
            [Picture("", draw_features(explanation.features, depth))],
        )
    pictures = [Picture("All landmarks", draw_all_heatmaps(explanation))]
    for i in explanation.landmarks:
        pictures += _planes(names[i], "", draw_landmark(explanation, i))
    single = "For a single landmark, positive values are orange, negative ones blue."
    yield Part("Heatmaps", f"{texts.heatmaps_text(explanation)} {single}", pictures)
    yield _occlusion_part(explanation)
    yield Part(
        "From the peak to the point",
        texts.peak_text(explanation),
        [
            Picture(names[i], draw_peak(window, _height(explanation, i)), "chart")
            for i, window in explanation.peaks.items()
        ],
    )
    yield Part(
        "Points, millimetres and uncertainty",
        f"{_space_text(explanation)} {texts.uncertainty_text(explanation)}",
        [],
        f'<div class="table">{_table(explanation)}</div>',
    )


def _occlusion_part(explanation: Explanation) -> Part:
    pictures: list[Picture] = []
    names, occlusion = explanation.schema.names, explanation.occlusion
    if occlusion is not None:
        unit = explanation.unit
        for values, title in (
            (shifts(explanation), f"distance by which the point moves, {unit}"),
            (100.0 * occlusion.change, "change of the heatmap, %"),
        ):
            drawing = draw_influence(values, explanation.schema, title)
            pictures.append(Picture("", drawing, "matrix"))
        for i, (other, _, _) in occlusion.examples.items():
            text = (
                f": its spatial configuration, and the same without {names[other]} "
                "(cross), on which its heatmap depends most"
            )
            pictures += _planes(names[i], text, draw_occluded(explanation, i))
    text = texts.occlusion_text(explanation)
    return Part("What spatial configuration depends on", text, pictures)


def _planes(
    name: str, text: str, drawings: Iterable[figure.Figure]
) -> Iterator[Picture]:
    """Yields the figures of one landmark, one for each plane of a volume."""
    drawings = list(drawings)
    if len(drawings) == 1:
        yield Picture(f"{name}{text}", drawings[0])
        return
    for plane, drawing in zip(("xy", "xz", "yz"), drawings, strict=True):
        yield Picture(f"{name}, plane {plane}{text}", drawing, "plane")


def _space_text(explanation: Explanation) -> str:
    if explanation.unit == "px":
        return (
            "The point is mapped from the grid to the pixels of the file. The file has "
            "no spacing, so that there are no millimetres; give it with --spacing."
        )
    return (
        "The point is mapped from the grid to the pixels of the file, and by the "
        "file's spacing (and, for volumes, origin and direction) to millimetres."
    )


def _table(explanation: Explanation) -> str:
    result, unit = explanation.result, explanation.unit
    axes = "xyz"[: len(result.affine) - 1]
    head = ["landmark", *(f"{a}, px" for a in axes)]
    if unit == "mm":
        head += [f"{a}, mm" for a in axes]
    head += ["score", f"peak width, {unit}"]
    radius = result.radius90(unit)
    if radius is not None:
        head += [f"90 % radius, {unit}", "present"]
    width, rows = result.peak_width(unit), []
    order = [
        *explanation.landmarks,
        *(i for i in range(len(explanation.schema)) if i not in explanation.landmarks),
    ]
    for i in order:
        numbers = [*result.points("px")[i]]
        if unit == "mm":
            numbers += [*result.points("mm")[i]]
        numbers += [result.score[i], width[i]]
        row = [html.escape(explanation.schema.names[i])]
        row += [f"{value:.2f}" for value in numbers]
        if radius is not None and result.present is not None:
            row += [f"{radius[i]:.2f}", "yes" if result.present[i] else "no"]
        rows.append(row)
    return table(map(html.escape, head), rows)


def _height(explanation: Explanation, landmark: int) -> float:
    target = getattr(explanation.model, "target", None)
    if target is None:  # the heatmaps of an ensemble have a height of 1
        return 1.0
    return float(np.ravel(np.asarray(target.height()))[landmark])


def _depth(explanation: Explanation) -> float:
    """Returns the relative position of the first chosen landmark along z."""
    point = explanation.grid_points[explanation.landmarks[0]]
    slices = explanation.grid_image.shape[0]
    if len(point) < 3 or not np.isfinite(point[2]):
        return 0.5
    return float(np.clip(point[2] / max(slices - 1, 1), 0.0, 1.0))
