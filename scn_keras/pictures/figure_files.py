"""Figures as the bytes of PNG, JPEG and SVG files."""

import io
from typing import Any

import matplotlib
from matplotlib import figure


def to_png(drawing: figure.Figure, dpi: int = 140) -> bytes:
    """Returns a figure as the bytes of a PNG file.

    Args:
        drawing: Matplotlib `Figure`.
        dpi: Int, pixels per inch.
    """
    return _save(drawing, "png", dpi=dpi)


def to_jpeg(drawing: figure.Figure, dpi: int = 140) -> bytes:
    """Returns a figure as the bytes of a JPEG file.

    A figure of a radiograph takes a fourth of the size of a PNG file.

    Args:
        drawing: Matplotlib `Figure`.
        dpi: Int, pixels per inch.
    """
    settings = {"quality": 88, "subsampling": 0}
    return _save(drawing, "jpeg", dpi=dpi, pil_kwargs=settings)


def to_svg(drawing: figure.Figure) -> bytes:
    """Returns a figure as the bytes of an SVG file.

    The same figure gives the same bytes every time.

    Args:
        drawing: Matplotlib `Figure`.
    """
    # Without a salt, matplotlib draws the ids inside at random.
    with matplotlib.rc_context({"svg.hashsalt": "scn-keras"}):
        return _save(drawing, "svg", metadata={"Date": None})


def _save(drawing: figure.Figure, format: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    drawing.savefig(file, format=format, facecolor=drawing.get_facecolor(), **settings)
    return file.getvalue()
