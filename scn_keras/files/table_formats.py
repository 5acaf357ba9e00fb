"""Recognises the format of a table of points by its header."""

from scn_keras.files._table_rows import TableRows
from scn_keras.files.deeplabcut_points import is_deeplabcut, parse_deeplabcut
from scn_keras.files.imagej_points import is_imagej, parse_imagej
from scn_keras.files.napari_points import is_napari, parse_napari
from scn_keras.files.point_set import PointSet
from scn_keras.files.table_points import parse_table
from scn_keras.files.via_points import is_via_table, parse_via_table


def parse_rows(table: TableRows, space: str | None) -> list[PointSet]:
    """Converts a table into points, by the format that its header shows.

    Args:
        table: `TableRows`.
        space: Str, the space of columns without a unit in tables of no other program;
            None for pixels.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    if is_deeplabcut(table):
        return parse_deeplabcut(table)
    if is_napari(table):
        return parse_napari(table)
    if is_via_table(table):
        return parse_via_table(table)
    if is_imagej(table):
        return parse_imagej(table)
    return parse_table(table, space)
