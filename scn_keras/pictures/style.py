"""Colours and grey levels shared by all pictures.

The colours are from the palette of Okabe and Ito, which can be distinguished with any
kind of colour vision. Differences in meaning are also shown by different shapes.
"""

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from scn_keras.files.shown_text import shown_text
from scn_keras.landmark_schema import LandmarkSchema

PREDICTED = "#E69F00"
TRUE = "#56B4E9"
PAPER = "#14181C"
INK = "#F2F4F5"

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


_CLIPPED = (0.5, 99.5)  # percentiles of the grey values


def landmark_colors(schema: LandmarkSchema) -> tuple[str, ...]:
    """Returns one colour per landmark, from the schema or from a palette of eight.

    Args:
        schema: `LandmarkSchema`. The palette is repeated for more than eight
            landmarks.

    Example:

    >>> landmark_colors(LandmarkSchema(("sella", "nasion")))
    ('#E69F00', '#56B4E9')
    """
    if schema.colors:
        return schema.colors
    return tuple(_PALETTE[i % len(_PALETTE)] for i in range(len(schema)))


def plain_text(text: str) -> str:
    """Returns a text that matplotlib draws as it is.

    Matplotlib typesets what is between two dollars as a formula.

    Args:
        text: Str, for example the name of a file.

    Example:

    >>> print(plain_text("$x^2$"))
    \\$x^2\\$
    """
    return shown_text(text).replace("$", "\\$")


def halo(linewidth: float) -> list[Any]:
    """Returns path effects that draw a black outline around light lines and text.

    Args:
        linewidth: Float, in points.
    """
    return [patheffects.withStroke(linewidth=linewidth, foreground="black")]


def grey_limits(image: np.ndarray) -> tuple[float, float]:
    """Returns the grey values of an image or volume that are drawn black and white.

    The darkest and the brightest half percent of the pixels are clipped, so that lead
    markers and labels do not determine the contrast.

    Args:
        image: Array of grey values.
    """
    step = max(round((image.size / 250_000) ** (1 / image.ndim)), 1)
    some = image[(slice(None, None, step),) * image.ndim]
    some = some[np.isfinite(some)]
    if not some.size:
        return 0.0, 1.0
    low, high = np.percentile(some, _CLIPPED)
    return float(low), float(high)


def to_grey(image: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Returns an image as uint8 grey values from black to white.

    Args:
        image: Array of grey values.
        limits: Tuple of two floats, see `grey_limits`.

    Example:

    >>> to_grey(np.array([[0.0, 1.0], [2.0, 9.0]]), (0.0, 3.0)).tolist()
    [[0, 85], [170, 255]]
    """
    low, high = limits
    relative = (image - np.float32(low)) / np.float32(max(high - low, 1e-6))
    # Values that are not a number are black.
    grey = np.nan_to_num(np.round(255.0 * relative), nan=0.0)
    return np.clip(grey, 0, 255).astype(np.uint8)


def draw_image(axes: Axes, image: np.ndarray, brightness: float = 1.0) -> None:
    """Draws a grey-value image with full contrast.

    The darkest and the brightest half percent of the pixels are clipped, so that lead
    markers and labels do not determine the contrast.

    Args:
        axes: Matplotlib `Axes` with the aspect ratio of the drawn image.
        image: Array `(y, x)`.
        brightness: Float, from 0 to 1, the grey level of the brightest pixels.
    """
    low, high = np.percentile(image[::4, ::4], _CLIPPED)
    high = low + max(high - low, 1e-6) / brightness
    axes.imshow(
        image,
        cmap="gray",
        vmin=low,
        vmax=high,
        interpolation="antialiased",
        aspect="auto",
    )
