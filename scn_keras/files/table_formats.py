"""Recognises the format of a table of points by its header."""

import re

from scn_keras.files._coordinate_columns import COORDINATE
from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows
from scn_keras.files.deeplabcut_points import is_deeplabcut, parse_deeplabcut
from scn_keras.files.imagej_points import is_imagej, parse_imagej
from scn_keras.files.napari_points import is_napari, parse_napari
from scn_keras.files.point_set import PointSet
from scn_keras.files.table_points import parse_table
from scn_keras.files.via_points import is_via_table, parse_via_table


def parse_rows(
    table: TableRows, space: str | None, problems: PointProblems
) -> list[PointSet]:
    """Converts a table into points, by the format that its header shows.

    Args:
        table: `TableRows`.
        space: Str, the space of columns without a unit in tables of no other program;
            None for pixels.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Raises:
        ValueError: If the header is not valid. The message names file and line.
    """
    if is_deeplabcut(table):
        return parse_deeplabcut(table, problems)
    if is_napari(table):
        return parse_napari(table, problems)
    if is_via_table(table):
        return parse_via_table(table, problems)
    if is_imagej(table):
        return parse_imagej(table, problems)
    return parse_table(table, space, problems)


def is_header(text: str) -> bool:
    """Returns whether the first line of a text is the header of a table of points.

    Args:
        text: Str, the beginning of a file.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].strip('"').lower().startswith("sep="):
        lines = lines[1:]
    if not lines:
        return False
    names = {n.strip().strip('"') for n in re.split(r"[\t;,|]", lines[0])}
    if names & {"scorer", "region_shape_attributes", "axis-0"}:
        return True
    found = [match for name in names if (match := COORDINATE.fullmatch(name))]
    axes = {(match[1], match[2].lower()) for match in found}
    return any((label, "y") in axes for label, axis in axes if axis == "x")
