from collections.abc import Sequence

import numpy as np
from matplotlib import collections, figure, patches
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from scn_keras.pictures.figure_files import without_glyph_warnings
from scn_keras.pictures.style import INK, PAPER, halo, plain_text

_DPI = 100
_POINTS_PER_PIXEL = 72.0 / _DPI


class PixelFigure:
    """A figure of which each pixel is known, for images at their own size.

    Grey values that are pasted are the pixels of the saved file. Lines, circles and
    text are drawn over them. Coordinates are in pixels from the upper left corner: the
    first pixel is from 0 to 1.

    Args:
        width, height: Int, in pixels.

    Example:

    ```python
    page = PixelFigure(640, 480)
    page.paste(grey_values, left=0, top=0)
    page.circles(centers, radii, color="orange")
    png = to_png(page.finish())
    ```
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._pixels[:] = [int(PAPER[i : i + 2], 16) for i in (1, 3, 5)]
        # Matplotlib rounds sizes down, also 1934.9999.
        size = (width + 1e-3) / _DPI, (height + 1e-3) / _DPI
        self._figure = figure.Figure(size, dpi=_DPI, facecolor=PAPER)
        self._canvas = FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_axis_off()
        self._axes.set(xlim=(0.0, width), ylim=(height, 0.0))
        self._axes.set_autoscale_on(False)

    def paste(self, grey: np.ndarray, left: int, top: int) -> None:
        """Sets pixels to grey values.

        Args:
            grey: uint8 array `(rows, columns)`.
            left, top: Int, the position of its first pixel.
        """
        rows, columns = grey.shape
        self._pixels[top : top + rows, left : left + columns] = grey[..., None]

    def lines(
        self,
        segments: Sequence[np.ndarray],
        color: str,
        width: float,
        alpha: float = 1,
        height: float | None = None,
    ) -> None:
        """Draws lines with a dark edge.

        Args:
            segments: Sequence of arrays `(points, 2)`.
            color: Str.
            width: Float, in pixels.
            alpha: Float, from 0 to 1, the opacity.
            height: Float, the row below which nothing is drawn, or `None`.
        """
        points = width * _POINTS_PER_PIXEL
        drawn = collections.LineCollection(
            list(segments),
            colors=color,
            linewidths=points,
            alpha=alpha,
            path_effects=halo(2.0 * points) if alpha == 1 else None,
        )
        self._axes.add_collection(drawn, autolim=False)
        if height is not None:
            area = patches.Rectangle((0.0, 0.0), self.width, height)
            drawn.set_clip_path(
                area.get_path(), area.get_transform() + self._axes.transData
            )

    def dots(self, centers: np.ndarray, color: str, diameter: float) -> None:
        """Draws dots with a dark edge at positions `(N, 2)`; `diameter` in pixels."""
        size = diameter * _POINTS_PER_PIXEL
        edge = max(0.12 * size, 0.5)
        self._axes.plot(
            *centers.T, "o", ms=size, mfc=color, mec="black", mew=edge, zorder=3
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        color: str = INK,
        align: str = "left",
    ) -> Text:
        """Writes a line of text.

        Args:
            x: Float, the position of its left edge, its middle or its right edge,
                see `align`.
            y: Float, the position of the middle of the line.
            text: Str, drawn as it is.
            size: Float, of the font, in pixels.
            color: Str.
            align: `"left"`, `"center"` or `"right"`.

        Returns:
            The matplotlib `Text`.
        """
        return self._axes.text(
            x,
            y,
            plain_text(text),
            color=color,
            fontsize=size * _POINTS_PER_PIXEL,
            ha=align,
            va="center_baseline",
            path_effects=halo(0.17 * size),
            zorder=4,
        )

    def width_of(self, text: Text) -> float:
        """Returns the width of a text in pixels."""
        with without_glyph_warnings():
            return text.get_window_extent(self._canvas.get_renderer()).width

    def finish(self) -> figure.Figure:
        """Returns the figure, to be saved with its own `dpi`."""
        self._figure.figimage(self._pixels, zorder=-1)
        return self._figure
