"""Conversion of figures to the bytes of PNG, JPEG and SVG files."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib import figure


def to_png(drawing: figure.Figure, dpi: float = 140) -> bytes:
    """Returns a figure as the bytes of a PNG file.

    Args:
        drawing: Matplotlib `Figure`.
        dpi: Float, pixels per inch.
    """
    return _save(drawing, "png", dpi=dpi)


def to_jpeg(drawing: figure.Figure, dpi: float = 140) -> bytes:
    """Returns a figure as the bytes of a JPEG file.

    For a radiograph, it has about a quarter of the size of a PNG file.

    Args:
        drawing: Matplotlib `Figure`.
        dpi: Float, pixels per inch.
    """
    settings = {"quality": 88, "subsampling": 0}
    return _save(drawing, "jpeg", dpi=dpi, pil_kwargs=settings)


def to_svg(drawing: figure.Figure) -> bytes:
    """Returns a figure as the bytes of an SVG file.

    The bytes are reproducible: the same figure always gives the same bytes.

    Args:
        drawing: Matplotlib `Figure`.
    """
    # Without a fixed salt, matplotlib generates random ids.
    with matplotlib.rc_context({"svg.hashsalt": "scn-keras"}):
        return _save(drawing, "svg", metadata={"Date": None})


@contextlib.contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Names of files and landmarks may be in any script; the font has a box for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _save(drawing: figure.Figure, format: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    with without_glyph_warnings():
        drawing.savefig(
            file, format=format, facecolor=drawing.get_facecolor(), **settings
        )
    return file.getvalue()
