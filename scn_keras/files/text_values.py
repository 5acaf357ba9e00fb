"""Text files and the numbers in them."""

import codecs
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Ten thousand images with twenty-five points each, some ten seconds. Parsers need ten
# times as much memory as the text. Files of labelme can hold an image.
MAX_TEXT_BYTES, MAX_LINES = 2**25, 250_000


def read_text(path: Path, legacy: bool = False) -> str:
    """Reads a text file in UTF-8, or with a byte order mark in UTF-16.

    Args:
        path: Path, the file.
        legacy: Bool, whether a file in no form of Unicode is read as Windows-1252, in
            which spreadsheets of Western Europe and America write, with a warning.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is empty, not regular, too large or not a text.
    """
    if not path.exists():
        raise FileNotFoundError(f"The file of points does not exist: {path}")
    if not path.is_file():  # reading a FIFO would wait
        raise ValueError(f"The file of points must be a regular file. Received: {path}")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(
            f"A file of points must have at most {MAX_TEXT_BYTES:,} bytes. Divide it. "
            f"Received: {path.stat().st_size:,} bytes in {path}"
        )
    data = path.read_bytes()
    lines = 0 if path.suffix.lower() == ".json" else data.count(b"\n")
    if lines > MAX_LINES:
        raise ValueError(
            f"A file of points must have at most {MAX_LINES:,} lines. Divide it. "
            f"Received: {lines:,} lines in {path}"
        )
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        try:
            text = data.decode("cp1252" if legacy else encoding)
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise ValueError(f"{path} is not a text file in UTF-8.") from error
        warnings.warn(
            f"{path} is not in UTF-8 and is read as Windows-1252. Save it in UTF-8 if "
            "letters other than a to z are wrong.",
            stacklevel=2,
        )
    if not text.strip():
        raise ValueError(f"The file of points is empty: {path}")
    return text


def _encoding(data: bytes) -> str:
    """Returns the form of Unicode of a text."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return encoding
    # Without a mark, every second byte of Latin letters and digits is 0.
    start = data[:100]
    if len(start) > 3 and not any(start[1::2]) and all(start[::2]):
        return "utf-16-le"
    if len(start) > 3 and not any(start[::2]) and all(start[1::2]):
        return "utf-16-be"
    return "utf-8"


def parse_position(
    values: Sequence[Any], where: str, axes: int, names: Sequence[str] = ()
) -> np.ndarray:
    """Converts the coordinates of one point into numbers.

    Args:
        values: Sequence of numbers or strings; `None`, `""` and `nan` for a missing
            landmark.
        where: Str, the beginning of an error message: file, line and label.
        axes: Int, the required number of coordinates.
        names: Sequence of str, the columns of the values, for error messages.

    Returns:
        float64 array `(axes,)`.

    Raises:
        ValueError: If a coordinate is not a finite number, or only some are missing.
    """
    if names:
        pairs = zip(names, values, strict=True)
        shown = ", ".join(f"{name[:40]}={str(value)[:100]!r}" for name, value in pairs)
    else:
        shown = ", ".join(str(value) for value in values)[:60]
    position = np.full(len(values), np.nan)
    for axis, value in enumerate(values):
        if value is None or str(value).strip().lower() in ("", "nan", "na", "null"):
            continue
        try:
            position[axis] = float(value)
        except (OverflowError, TypeError, ValueError):
            position[axis] = np.inf
    missing = np.isnan(position)
    if len(position) != axes or np.isinf(position).any():
        raise ValueError(f"{where} must have {axes} finite numbers. Received: {shown}")
    if missing.any() and not missing.all():
        raise ValueError(
            f"{where} must have all coordinates, or none if it is missing. Received: "
            f"{shown}"
        )
    return position
