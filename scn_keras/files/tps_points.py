"""Landmarks in TPS files, as tpsDig and geometric morphometrics write them."""

import re
from pathlib import Path

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position, read_text

_ENTRY = re.compile(r"\s*([A-Za-z]+\d?)\s*=\s*(.*)")
# Entries with the number of rows of coordinates below them.
_ROWS = ("LM", "LM3", "POINTS", "POINTS3", "OUTLINES", "CURVES")
_OTHER = ("ID", "IMAGE", "SCALE", "COMMENT", "VARIABLES", "RADII", "CREATED")


def read_tps(path: Path, problems: PointProblems) -> list[PointSet]:
    """Reads a TPS file of one or several images.

    Landmarks have their number in the image, from 1. x counts from the left and y from
    below, in pixels: the y from above is the height of the image less y. A landmark at
    -1, -1 or NA is missing. The image is that of `IMAGE`, else that of `ID`. `SCALE`,
    the length of a pixel in a unit that the file does not state, is an attribute, and
    the points are in pixels; curves and outlines are listed in `PointSet.shapes`.

    Args:
        path: Path, the file.
        problems: `PointProblems`, to which invalid positions are added.

    Returns:
        List of `PointSet` in pixels, `from_below` for 2D landmarks.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not valid. The message names file and line.
    """
    images: list[_Image] = []
    for number, line in enumerate(read_text(path, legacy=True).splitlines(), 1):
        entry = _ENTRY.fullmatch(line.strip())
        if entry is None and not line.strip():
            continue
        if entry is not None and entry[1].upper() in ("LM", "LM3"):
            images.append(_Image(path, number, 3 if entry[1].endswith("3") else 2))
        if not images:
            raise ValueError(
                f"{path}, line {number}: a TPS file must begin with LM=, the number of "
                f"landmarks. Received: {line.strip()[:60]!r}"
            )
        if entry is None:
            images[-1].add_row(number, line)
        else:
            images[-1].add_entry(number, entry[1].upper(), entry[2].strip())
    return [image.points(problems) for image in images]


class _Image:
    """The lines of one image."""

    def __init__(self, path: Path, line: int, axes: int) -> None:
        self.path, self.line, self.axes = path, line, axes
        self.rows: list[tuple[int, list[str]]] = []
        self.count = 0
        self.expected = 0  # rows that are to follow
        self.curves: list[str] = []
        self.entries: dict[str, str] = {}
        self.is_curve = False

    def add_entry(self, number: int, key: str, value: str) -> None:
        self._require_rows(number)
        if key in _ROWS:
            count = int(value) if value.isdecimal() else -1
            if count < 0:
                raise ValueError(
                    f"{self.path}, line {number}: {key} must be a number of points. "
                    f"Received: {value!r}"
                )
            self.is_curve = not key.startswith("LM")
            if key in ("LM", "LM3"):
                self.count = count
            if key.startswith("POINTS"):
                self.curves.append(f"curve of {count} points")
            if key not in ("CURVES", "OUTLINES"):
                self.expected = count
        elif key in _OTHER:
            self.entries[key] = value
        else:
            raise ValueError(
                f"{self.path}, line {number}: {key} is no entry of a TPS file. "
                f"Known: {', '.join((*_ROWS, *_OTHER))}. Received: {value!r}"
            )

    def add_row(self, number: int, line: str) -> None:
        if not self.expected:
            raise ValueError(
                f"{self.path}, line {number}: there must be {self.count} landmarks, as "
                f"LM on line {self.line} states. Received: {line.strip()[:60]!r}"
            )
        self.expected -= 1
        if not self.is_curve:
            self.rows.append((number, line.split()))

    def points(self, problems: PointProblems) -> PointSet:
        self._require_rows(self.line)
        image = self.entries.get("IMAGE") or self.entries.get("ID", "")
        positions = np.full((len(self.rows), self.axes), np.nan)
        for n, (number, values) in enumerate(self.rows, 1):
            if values in (["-1"] * self.axes, ["NA"] * self.axes):
                values = [""] * self.axes
            where = f"{self.path}, line {number}: landmark {n}"
            # A decimal comma, of tpsDig on computers with such a setting.
            values = [v.replace(",", ".") for v in values]
            with problems.of(image):
                positions[n - 1] = parse_position(values, where, self.axes)
        notes = []
        if scale := self.entries.get("SCALE"):
            notes.append(
                f"{self.path}: SCALE is not used, since the file does not state its "
                "unit. Set files.spacing in landmarks.toml if images have no spacing. "
                f"Received: SCALE={scale}"
            )
        return PointSet(
            [str(n) for n in range(1, len(positions) + 1)],
            positions,
            image=image,
            attributes={k: v for k, v in self.entries.items() if k != "IMAGE"},
            lines=[number for number, _ in self.rows],
            notes=notes,
            shapes=[(f"curve {n}", kind) for n, kind in enumerate(self.curves, 1)],
            numbered=True,
            from_below=self.axes == 2,
        )

    def _require_rows(self, number: int) -> None:
        if self.expected:
            raise ValueError(
                f"{self.path}, line {number}: {self.expected} rows of coordinates are "
                f"missing for the image on line {self.line}."
            )
