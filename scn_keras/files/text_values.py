"""Text files and the numbers in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8.

    Args:
        path: Path, the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is empty, not regular or not in UTF-8.
    """
    if not path.exists():
        raise FileNotFoundError(f"The file of points does not exist: {path}")
    if not path.is_file():  # reading a FIFO would wait
        raise ValueError(f"The file of points must be a regular file. Received: {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8.") from error
    if not text.strip():
        raise ValueError(f"The file of points is empty: {path}")
    return text


def parse_position(values: Sequence[Any], where: str, axes: int) -> np.ndarray:
    """Converts the coordinates of one point into numbers.

    Args:
        values: Sequence of numbers or strings; `None`, `""` and `nan` for a missing
            landmark.
        where: Str, the beginning of an error message: file, line and label.
        axes: Int, the required number of coordinates.

    Returns:
        float64 array `(axes,)`.

    Raises:
        ValueError: If a coordinate is not a finite number, or only some are missing.
    """
    shown = ", ".join(str(value) for value in values)[:60]
    position = np.full(len(values), np.nan)
    for axis, value in enumerate(values):
        if value is None or str(value).strip().lower() in ("", "nan", "na", "null"):
            continue
        try:
            position[axis] = float(value)
        except (TypeError, ValueError):
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
