"""The picture of a volume: projections, and three slices through each landmark."""

from collections.abc import Sequence

import numpy as np
from matplotlib import figure
from PIL import Image

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures._named_points import (
    UNIT_CIRCLE,
    caption_height,
    caption_lines,
    draw_caption,
    draw_named_points,
)
from scn_keras.pictures._turned_volume import TurnedVolume, turn_volume
from scn_keras.pictures.pixel_figure import PixelFigure
from scn_keras.pictures.style import PREDICTED, TRUE

_SIZE = 14.0  # of the font, in pixels
_TILES = 6  # in a row: the slices of two landmarks
_MIN_TILE, _MAX_TILE = 240, 400
_GAP = 6
_MAX_OVERVIEW = 900.0
# The part of the longest extent that the slices show.
_SHOWN = 0.5
_TICKS = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


def draw_slices(
    image: np.ndarray,
    schema: LandmarkSchema,
    points: np.ndarray,
    affine: np.ndarray | None = None,
    radii: np.ndarray | None = None,
    title: str = "",
    chosen: Sequence[int] | None = None,
    true: np.ndarray | None = None,
) -> figure.Figure:
    """Draws the projections of a volume, and three slices through each landmark.

    Each slice shows half of the longest extent of the volume, in its true scale and not
    reduced, with the point in its middle and the true point, projected to the slice, as
    a ring.

    Args:
        image: Array `(z, y, x)` of grey values.
        schema: `LandmarkSchema`.
        points: Array `(N, 3)` in pixels of the image; NaN rows are not drawn.
        affine: Array `(4, 4)`, pixels to mm (LPS) with a usable spacing, or `None`.
            Volumes are turned accordingly: the patient's right is on the left, the head
            above.
        radii: Array `(N,)`, in mm with an affine, otherwise in pixels; `None` for no
            circles.
        title: Str.
        chosen: Sequence of int, the landmarks whose slices are drawn; `None` for all.
        true: Array `(N, 3)` in pixels of the image, or `None`.

    Returns:
        A matplotlib `Figure`, to be saved with its own `dpi`.

    Example:

    ```python
    drawing = draw_slices(volume, schema, points, affine, chosen=[3, 7])
    pathlib.Path("slices.png").write_bytes(to_png(drawing, drawing.dpi))
    ```
    """
    volume = turn_volume(image, points, affine, true)
    finest = volume.spacing.min()
    shown = min(_SHOWN * volume.extents.max(), _MAX_TILE * finest)
    tile = int(np.clip(np.ceil(shown / finest), _MIN_TILE, _MAX_TILE))
    zoom = tile / shown  # pixels per mm
    width = _TILES * tile + (_TILES - 1) * _GAP
    overview = _overview_sizes(volume, width)
    chosen = range(len(schema)) if chosen is None else chosen
    drawn = [n for n in chosen if not np.isnan(points[n]).any()]
    row = tile + int(2.2 * _SIZE)
    lines = caption_lines(title, schema.names, points, width, _SIZE)
    top = max(height for _, height in overview) + _GAP
    below = top + row * -(-len(drawn) * 3 // _TILES)
    height = below + int(caption_height(len(lines), _SIZE) + 0.9 * _SIZE)
    page = PixelFigure(width, height)
    _draw_overview(page, volume, schema, overview)
    unit = "px" if affine is None else "mm"
    for number, landmark in enumerate(drawn):
        left = (number % 2) * 3 * (tile + _GAP)
        y = top + (number // 2) * row
        radius = np.nan if radii is None else float(radii[landmark])
        text = _about(volume, schema.names[landmark], landmark, radius, unit)
        page.text(left + 4, y + 1.1 * _SIZE, text, _SIZE)
        for column, axis in enumerate((2, 1, 0)):
            corner = np.array([left + column * (tile + _GAP), y + int(2.0 * _SIZE)])
            _draw_slice(page, volume, landmark, axis, zoom, tile, corner)
            if np.isfinite(radius) and radius * zoom < 0.5 * tile:
                circle = corner + 0.5 * tile + radius * zoom * UNIT_CIRCLE
                page.lines([circle], PREDICTED, 1.5)
    key = "90 % radius" if radii is not None else ""
    bar = (zoom, "mm (slices)") if affine is not None else None
    draw_caption(page, lines, below, _SIZE, key, bar)
    return page.finish()


def _about(
    volume: TurnedVolume, name: str, landmark: int, radius: float, unit: str
) -> str:
    """Returns the text above the slices of a landmark."""
    parts = [name]
    if np.isfinite(radius):
        parts.append(f"90 % radius {radius:.1f} {unit}")
    if volume.true is not None and not np.isnan(volume.true[landmark]).any():
        difference = volume.points[landmark] - volume.true[landmark]
        distance = np.linalg.norm(difference * volume.spacing)
        parts.append(f"{distance:.2f} {unit} from the true point")
    if volume.is_outside(landmark):
        parts.append("outside the image")
    return ", ".join(parts)


def _overview_sizes(volume: TurnedVolume, width: int) -> list[tuple[int, int]]:
    """Returns the widths and heights of the three projections side by side."""
    shapes = []
    for axis in (2, 1, 0):
        plane = [n for n in range(3) if n != axis]
        shapes.append(volume.extents[plane])
    scale = (width - 2 * _GAP) / sum(x for x, _ in shapes)
    scale = min(scale, _MAX_OVERVIEW / max(y for _, y in shapes))
    return [(max(int(x * scale), 1), max(int(y * scale), 1)) for x, y in shapes]


def _draw_overview(
    page: PixelFigure,
    volume: TurnedVolume,
    schema: LandmarkSchema,
    sizes: Sequence[tuple[int, int]],
) -> None:
    left = 0
    for axis, size in zip((2, 1, 0), sizes, strict=True):
        grey = volume.plane(axis)
        resized = Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC)
        page.paste(np.asarray(resized), left, 0)
        scale = np.array(size) / grey.shape[::-1]
        points = (volume.in_plane(volume.points, axis) + 0.5) * scale
        if volume.true is not None:
            true = (volume.in_plane(volume.true, axis) + 0.5) * scale + [left, 0]
            rings = [center + 4.0 * UNIT_CIRCLE for center in true]
            page.lines([ring for ring in rings if not np.isnan(ring).any()], TRUE, 1.2)
        draw_named_points(
            page, schema.names, points, schema.links, _SIZE, (left, 0), size
        )
        name = volume.plane_name(axis)
        name = name if volume.has_directions else f"along {name}"
        page.text(left + 4, _SIZE, f"{name} projection", _SIZE)
        left += size[0] + _GAP


def _draw_slice(
    page: PixelFigure,
    volume: TurnedVolume,
    landmark: int,
    axis: int,
    zoom: float,
    tile: int,
    corner: np.ndarray,
) -> None:
    """Draws the slice through a landmark, which is in the middle of its tile."""
    grey = volume.plane(axis, volume.points[landmark, axis])
    (center,) = volume.in_plane(volume.points[[landmark]], axis)
    # From pixels of the tile to pixels of the slice, both from their corners.
    step = 1.0 / (zoom * volume.plane_spacing(axis))
    start = center + 0.5 - 0.5 * tile * step
    resampled = Image.fromarray(grey).transform(
        (tile, tile),
        Image.Transform.AFFINE,
        (step[0], 0.0, start[0], 0.0, step[1], start[1]),
        Image.Resampling.BILINEAR,
    )
    page.paste(np.asarray(resampled), *corner)
    middle = corner + 0.5 * tile
    page.lines([np.outer((6.0, 16.0), d) + middle for d in _TICKS], PREDICTED, 1.5)
    if volume.true is not None:
        (true,) = (volume.in_plane(volume.true[[landmark]], axis) - start + 0.5) / step
        if ((true > 0) & (true < tile)).all():  # and not NaN
            page.lines([corner + true + 5.0 * UNIT_CIRCLE], TRUE, 1.5)
    text = f"{volume.plane_name(axis)} {round(volume.stored[landmark, axis])}"
    page.text(corner[0] + 4, corner[1] + tile - 0.8 * _SIZE, text, 12.0)
    left, above = volume.letters(axis)
    page.text(corner[0] + 4, middle[1], left, 12.0)
    page.text(middle[0], corner[1] + 9, above, 12.0, align="center")
