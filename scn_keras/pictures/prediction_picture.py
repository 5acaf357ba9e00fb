from collections.abc import Sequence

import numpy as np
from matplotlib import figure
from PIL import Image

from scn_keras.array_api import NUMPY
from scn_keras.geometry import has_usable_spacing, spacing_of
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.pictures._named_points import (
    MAX_COVERED,
    UNIT_CIRCLE,
    caption_height,
    caption_lines,
    draw_caption,
    draw_named_points,
)
from scn_keras.pictures.pixel_figure import PixelFigure
from scn_keras.pictures.slices import draw_slices
from scn_keras.pictures.style import PREDICTED, grey_limits, to_grey

_MIN_FONT, _LINES = 14.0, 85.0  # font in pixels, lines per side of large images
_MAX_SIDE = 16000  # of an image with long pixels


def draw_prediction(
    image: np.ndarray,
    schema: LandmarkSchema,
    points: np.ndarray,
    affine: np.ndarray | None = None,
    radii: np.ndarray | None = None,
    title: str = "",
    with_slices: Sequence[int] | None = None,
    sides: tuple[int, int] = (1000, 3000),
) -> figure.Figure:
    """Draws points with their names and radii on an image of its own size.

    An image has at least one pixel of the picture for each of its own, from the upper
    left corner on; title, key and scale are below. Small images are enlarged by a whole
    number until the names fit. Pixels that are not square are stretched along their
    longer side. Of a volume, the picture contains its projections, and for each
    landmark the three slices through it, which are not reduced.

    Args:
        image: Array `((z,) y, x)` of grey values, with or without a last axis of 1.
        schema: `LandmarkSchema`, whose links are drawn.
        points: Array `(N, D)` in pixels of the image; NaN rows are not drawn.
        affine: Array `(D + 1, D + 1)`, pixels to mm (LPS), or `None`. Volumes are
            turned accordingly: the patient's right is on the left, the head above.
        radii: Array `(N,)`, in mm with a usable affine, otherwise in pixels of the
            image; `None` for no circles.
        title: Str.
        with_slices: Sequence of int, the landmarks of a volume whose slices are drawn;
            `None` for all.
        sides: Tuple of two ints: an image is enlarged until its longer side has the
            first number of pixels, and further until its names do not cover each other,
            at most to the second.

    Returns:
        A matplotlib `Figure`, to be saved with its own `dpi`.

    Example:

    ```python
    drawing = draw_prediction(image, schema, points, affine, radii, "film 7")
    pathlib.Path("film 7.png").write_bytes(to_png(drawing, drawing.dpi))
    ```
    """
    points = np.asarray(points, np.float64)
    image = np.asarray(image)
    if image.ndim == points.shape[-1] + 1:
        image = image[..., 0]
    if affine is not None and not has_usable_spacing(affine, NUMPY):
        affine = None
    if image.ndim == 3:
        return draw_slices(image, schema, points, affine, radii, title, with_slices)
    stretch = np.ones(2)
    if affine is not None:
        spacing = spacing_of(affine)
        stretch = spacing / spacing.min()
    extent = np.array(image.shape[::-1]) * stretch
    limit = max(_MAX_SIDE, max(image.shape))
    stretch *= min(1.0, limit / extent.max())
    enlarged = max(int(np.ceil(sides[0] / extent.max())), 1)
    while True:
        drawing, covered = _draw(
            image, schema, points, affine, radii, title, enlarged * stretch
        )
        enlarged += 1
        if covered <= MAX_COVERED or enlarged * extent.max() > sides[1]:
            return drawing


def _draw(image, schema, points, affine, radii, title, scale):
    """Returns the picture at a scale `(x, y)`, and how much of a name is covered."""
    width, height = (int(n) for n in np.round(scale * image.shape[::-1]))
    # Not in proportion to an enlarged image, which thus has more room.
    size = max(_MIN_FONT, float(round(max(image.shape) / _LINES)))
    lines = caption_lines(title, schema.names, points, width, size)
    below = caption_height(len(lines), size) + 0.9 * size
    page = PixelFigure(width, height + int(below))
    grey = to_grey(image, grey_limits(image))
    if (width, height) != grey.shape[::-1]:
        resized = Image.fromarray(grey).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        grey = np.asarray(resized)
    page.paste(grey, 0, 0)
    on_page = (points + 0.5) * scale
    key, sizes = "", None
    if radii is not None:
        linear = np.eye(2) if affine is None else affine[:2, :2]
        outline = UNIT_CIRCLE @ np.linalg.inv(linear).T * scale
        sizes = np.asarray(radii) * np.abs(outline).max()
        drawn = ~np.isnan(points).any(axis=-1) & np.isfinite(radii)
        circles = on_page[drawn, None] + np.asarray(radii)[drawn, None, None] * outline
        page.lines(list(circles), PREDICTED, 0.1 * size, height=height)
        key = "90 % radius"
    covered = draw_named_points(
        page,
        schema.names,
        on_page,
        schema.links,
        size,
        area=(width, height),
        radii=sizes,
    )
    bar = None if affine is None else (scale[0] / spacing_of(affine)[0], "mm")
    draw_caption(page, lines, height, size, key, bar)
    return page.finish(), covered
