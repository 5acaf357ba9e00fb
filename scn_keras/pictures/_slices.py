"""The picture of a volume: projections, and three slices through each landmark."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure
from PIL import Image

from scn_keras.geometry import spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures._named_points import (
    UNIT_CIRCLE,
    caption_height,
    caption_lines,
    draw_caption,
    draw_named_points,
)
from scn_keras.pictures.pixel_figure import PixelFigure
from scn_keras.pictures.style import PREDICTED, grey_limits, to_grey

_SIZE = 14.0  # of the font, in pixels
_TILES = 6  # in a row: the slices of two landmarks
_MIN_TILE, _MAX_TILE = 240, 400
_GAP = 6
# The part of the longest extent that the slices show.
_SHOWN = 0.5
# Per axis of LPS: the plane perpendicular to it, and the letters of its two ends.
_PLANES = ("sagittal", "coronal", "axial")
_LETTERS = ("RL", "AP", "IS")
# Per plane: the axis along x and that along y. The z axis points upwards.
_AXES = {2: (0, 1), 1: (0, 2), 0: (1, 2)}


class _Volume(NamedTuple):
    """A volume with axes along left, posterior and superior, as far as is known.

    Attributes:
        image: Array `(z, y, x)`.
        limits: Tuple of two floats, the grey values drawn black and white in slices.
        points: Array `(N, 3)`, x, y, z.
        spacing: Array `(3,)`, x, y, z; ones if it is not known.
        slices: Array `(N, 3)`, the indices of the slices in the stored volume.
        has_directions: Bool, whether the planes have names.
    """

    image: np.ndarray
    limits: tuple[float, float]
    points: np.ndarray
    spacing: np.ndarray
    slices: np.ndarray
    has_directions: bool


def draw_slices(
    image: np.ndarray,
    schema: LandmarkSchema,
    points: np.ndarray,
    affine: np.ndarray | None,
    radii: np.ndarray | None,
    title: str,
    chosen: Sequence[int],
) -> figure.Figure:
    """Draws a volume, see `draw_prediction`; `affine` is usable or `None`."""
    volume = _turn(image, points, affine)
    extents = volume.spacing * volume.image.shape[::-1]
    finest = volume.spacing.min()
    shown = min(_SHOWN * extents.max(), _MAX_TILE * finest)
    tile = int(np.clip(np.ceil(shown / finest), _MIN_TILE, _MAX_TILE))
    zoom = tile / shown  # pixels per mm
    width = _TILES * tile + (_TILES - 1) * _GAP
    overview, heights = _overview(volume, width)
    drawn = [n for n in chosen if not np.isnan(points[n]).any()]
    row = tile + int(2.2 * _SIZE)
    rows = -(-len(drawn) * 3 // _TILES)
    lines = caption_lines(title, schema.names, points, width, _SIZE)
    top = heights + _GAP
    below = top + rows * row
    page = PixelFigure(
        width, below + int(caption_height(len(lines), _SIZE) + 0.9 * _SIZE)
    )
    _draw_overview(page, volume, schema, overview)
    for number, landmark in enumerate(drawn):
        left = (number % 2) * 3 * (tile + _GAP)
        y = top + (number // 2) * row
        radius = np.nan if radii is None else radii[landmark]
        unit = "px" if affine is None else "mm"
        text = schema.names[landmark]
        if np.isfinite(radius):
            text += f", 90 % radius {radius:.1f} {unit}"
        size = np.array(volume.image.shape[::-1])
        if (
            (volume.points[landmark] < -0.5) | (volume.points[landmark] > size - 0.5)
        ).any():
            text += ", outside the image"
        page.text(left + 4, y + 1.1 * _SIZE, text, _SIZE)
        for axis in (2, 1, 0):
            corner = (left + (2 - axis) * (tile + _GAP), y + int(2.0 * _SIZE))
            _draw_slice(page, volume, landmark, axis, zoom, tile, corner, radius)
    key = "90 % radius" if radii is not None else ""
    bar = (zoom, "mm (slices)") if affine is not None else None
    draw_caption(page, lines, below, _SIZE, key, bar)
    return page.finish()


def _turn(image: np.ndarray, points: np.ndarray, affine: np.ndarray | None) -> _Volume:
    """Returns the volume with its axes nearest to left, posterior and superior."""
    limits = grey_limits(image)
    slices = np.round(points)
    if affine is None:
        return _Volume(image, limits, points, np.ones(3), slices, False)
    linear = np.asarray(affine)[:3, :3]
    spacing = spacing_of(affine)
    directions = linear / spacing
    # The axis of the volume for each axis of LPS, the clearest first.
    order = np.full(3, -1)
    strength = np.abs(directions)
    for _ in range(3):
        lps, stored = np.unravel_index(np.argmax(strength), (3, 3))
        order[lps] = stored
        strength[lps], strength[:, stored] = -1.0, -1.0
    backwards = directions[np.arange(3), order] < 0
    # Axes of the array are z, y, x.
    image = np.transpose(image, [2 - order[2], 2 - order[1], 2 - order[0]])
    points, slices = points[:, order].copy(), slices[:, order]
    for axis in np.flatnonzero(backwards):
        image = np.flip(image, 2 - int(axis))
        points[:, axis] = image.shape[2 - axis] - 1 - points[:, axis]
    return _Volume(image, limits, points, spacing[order], slices, True)


def _overview(volume, width):
    """Returns the sizes of the three projections side by side, and their height."""
    extents = volume.spacing * volume.image.shape[::-1]
    shapes = [(extents[x], extents[y]) for x, y in (_AXES[a] for a in (2, 1, 0))]
    scale = (width - 2 * _GAP) / sum(x for x, _ in shapes)
    scale = min(scale, 900.0 / max(y for _, y in shapes))
    sizes = [(max(int(x * scale), 1), max(int(y * scale), 1)) for x, y in shapes]
    return sizes, max(y for _, y in sizes)


def _draw_overview(page, volume, schema, sizes):
    left = 0
    for axis, (width, height) in zip((2, 1, 0), sizes, strict=True):
        x, y = _AXES[axis]
        plane = volume.image.max(axis=2 - axis)
        points = volume.points[:, [x, y]].copy()
        if y == 2:
            plane = plane[::-1]
            points[:, 1] = plane.shape[0] - 1 - points[:, 1]
        grey = Image.fromarray(to_grey(plane, grey_limits(plane)))
        resized = grey.resize((width, height), Image.Resampling.BICUBIC)
        page.paste(np.asarray(resized), left, 0)
        scale = np.array([width / plane.shape[1], height / plane.shape[0]])
        draw_named_points(
            page,
            schema.names,
            (points + 0.5) * scale,
            schema.links,
            _SIZE,
            (left, 0),
            (width, height),
        )
        name = _PLANES[axis] if volume.has_directions else f"along {'xyz'[axis]}"
        page.text(left + 4, _SIZE, f"{name} projection", _SIZE)
        left += width + _GAP


def _draw_slice(page, volume, landmark, axis, zoom, tile, corner, radius):
    """Draws the slice through a landmark, which is in the middle of its tile."""
    x, y = _AXES[axis]
    point = volume.points[landmark]
    index = int(np.clip(round(point[axis]), 0, volume.image.shape[2 - axis] - 1))
    plane = np.take(volume.image, index, axis=2 - axis)
    center = point[[x, y]]
    if y == 2:
        plane = plane[::-1]
        center[1] = plane.shape[0] - 1 - center[1]
    # From pixels of the tile to pixels of the slice, both from their corners.
    step = 1.0 / (zoom * volume.spacing[[x, y]])
    start = center + 0.5 - 0.5 * tile * step
    resampled = Image.fromarray(to_grey(plane, volume.limits)).transform(
        (tile, tile),
        Image.Transform.AFFINE,
        (step[0], 0.0, start[0], 0.0, step[1], start[1]),
        Image.Resampling.BILINEAR,
    )
    page.paste(np.asarray(resampled), *corner)
    middle = np.array(corner) + 0.5 * tile
    ticks = [np.outer((6.0, 16.0), d) + middle for d in np.array(_TICKS)]
    page.lines(ticks, PREDICTED, 1.5)
    if np.isfinite(radius) and radius * zoom < 0.5 * tile:
        page.lines([middle + radius * zoom * UNIT_CIRCLE], PREDICTED, 1.5)
    name = _PLANES[axis] if volume.has_directions else "xyz"[axis]
    index = int(volume.slices[landmark, axis])
    page.text(corner[0] + 4, corner[1] + tile - 0.8 * _SIZE, f"{name} {index}", 12.0)
    if volume.has_directions:
        page.text(corner[0] + 4, middle[1], _LETTERS[x][0], 12.0)
        page.text(middle[0], corner[1] + 9, _LETTERS[y][y == 2], 12.0, align="center")


_TICKS = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
