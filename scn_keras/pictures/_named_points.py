"""Points with names and radii on a `PixelFigure`, and what is written below it."""

import textwrap
from collections.abc import Sequence

import numpy as np

from scn_keras.files.shown_text import shown_text
from scn_keras.pictures._label_positions import label_positions, leader
from scn_keras.pictures.pixel_figure import PixelFigure
from scn_keras.pictures.style import INK, PREDICTED

# The part of a name that others may cover before a picture is enlarged.
MAX_COVERED = 0.05
_LONGEST_NAME = 32
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 97)
UNIT_CIRCLE = np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], axis=-1)


def draw_named_points(
    page: PixelFigure,
    names: Sequence[str],
    points: np.ndarray,
    links: Sequence[tuple[int, int]],
    size: float,
    corner: tuple[int, int] = (0, 0),
    area: tuple[int, int] | None = None,
    radii: np.ndarray | None = None,
) -> float:
    """Draws points with their names.

    Args:
        page: `PixelFigure`.
        names: Sequence of str.
        points: Array `(N, 2)`, relative to the corner; NaN rows are not drawn.
        links: Pairs of points that a line joins.
        size: Float, of the font, in pixels.
        corner: Tuple of two ints, the upper left corner of the image on the page.
        area: Tuple of two ints, the width and height of the image; `None` for the page.
        radii: Array `(N,)` of the radii of their circles, beside which names are
            written; `None` for no circles.

    Returns:
        The largest part of a name that others cover, from 0 to 1.
    """
    drawn = np.flatnonzero(~np.isnan(points).any(axis=-1))
    offset = np.asarray(corner, float)
    joined = [pair for pair in links if set(pair) <= set(drawn)]
    page.lines(
        [points[list(pair)] + offset for pair in joined], "white", 0.07 * size, 0.4
    )
    if not len(drawn):
        return 0.0
    points = points[drawn]
    texts = [page.text(0, 0, _short(names[int(n)]), size) for n in drawn]
    widths = [page.width_of(text) for text in texts]
    sizes = np.stack([widths, np.full(len(widths), 1.15 * size)], axis=-1)
    sizes[:, 0] += 0.25 * size
    area = area or (page.width, page.height)
    gaps = np.full(len(drawn), 0.55 * size)
    if radii is not None:
        circles = np.nan_to_num(np.asarray(radii)[drawn])
        # Names stay near points with large circles.
        gaps = np.clip(circles + 0.3 * size, gaps, 2.5 * size)
    centers, covered = label_positions(points, sizes, area, gaps)
    ends = [leader(*each) for each in zip(points, centers, sizes, strict=True)]
    lengths = np.array([np.linalg.norm(end[1] - end[0]) for end in ends])
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = (apart + np.diag(np.full(len(points), np.inf))).min(axis=1)
    # Also where the name could belong to another point.
    drawn_leaders = (lengths > gaps + 0.5 * size) | (nearest < 1.5 * lengths)
    far = [ends[n] + offset for n in np.flatnonzero(drawn_leaders)]
    page.lines(far, INK, 0.08 * size)
    page.dots(points + offset, PREDICTED, 0.42 * size)
    for text, center in zip(texts, centers + offset, strict=True):
        text.set(x=center[0], y=center[1], ha="center")
    return covered


def caption_lines(
    title: str, names: Sequence[str], points: np.ndarray, width: float, size: float
) -> list[str]:
    """Returns the lines below a picture: its title, and landmarks without a point."""
    columns = max(int(width / (0.56 * size)), 12)
    absent = [
        _short(name)
        for name, point in zip(names, points, strict=True)
        if np.isnan(point).any()
    ]
    texts = [shown_text(title)] if title else []
    if absent:
        texts.append(f"Without a point: {', '.join(absent)}")
    return [line for text in texts for line in textwrap.wrap(text, columns)]


def draw_caption(
    page: PixelFigure,
    lines: Sequence[str],
    top: float,
    size: float,
    radius_key: str = "",
    scale: tuple[float, str] | None = None,
) -> None:
    """Writes lines, the key of the circles and a scale bar below a picture.

    Args:
        page: `PixelFigure`.
        lines: Sequence of str.
        top: Float, the upper end of the caption.
        size: Float, of the font, in pixels.
        radius_key: Str, the meaning of the circles, or `""`.
        scale: Tuple of the pixels per unit and the unit, or `None` for no bar.
    """
    for number, line in enumerate(lines):
        page.text(0.6 * size, top + caption_height(number, size), line, size)
    y = top + caption_height(len(lines), size)
    if radius_key:
        center = np.array([1.1 * size, y - 0.05 * size])
        page.lines([center + 0.4 * size * UNIT_CIRCLE], PREDICTED, 0.1 * size)
        page.text(1.9 * size, y, radius_key, size)
    if scale is not None:
        _draw_scale_bar(page, y, size, *scale)


def caption_height(lines: int, size: float) -> float:
    """Returns the distance of the middle of a line from the top of a caption."""
    return (1.0 + 1.4 * lines) * size


def _draw_scale_bar(
    page: PixelFigure, y: float, size: float, pixels: float, unit: str
) -> None:
    """Draws a bar of 1, 2, 5, 10, ... units, at most a quarter of the width."""
    limit = 0.25 * page.width / pixels
    power = 10.0 ** np.floor(np.log10(limit))
    length = max(power * step for step in (1, 2, 5) if power * step <= limit)
    right = page.width - 0.6 * size
    left = right - length * pixels
    page.lines([np.array([[left, y], [right, y]])], INK, 0.15 * size)
    page.text(left - 0.5 * size, y, f"{length:g} {unit}", size, align="right")


def _short(name: str) -> str:
    name = shown_text(name)
    if len(name) <= _LONGEST_NAME:
        return name
    end = _LONGEST_NAME // 3  # long names often differ at the end
    return f"{name[: _LONGEST_NAME - end - 1]}…{name[-end:]}"
