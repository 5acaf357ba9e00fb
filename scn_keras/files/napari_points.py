"""Tables of the points layer of napari."""

import re
from collections.abc import Sequence

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

_AXIS = re.compile(r"axis-(\d+)")
_LABEL = ("label", "landmark", "name", "keypoint")


def is_napari(table: TableRows) -> bool:
    """Returns whether a table is one of napari: `index,axis-0,axis-1`."""
    return {"axis-0", "axis-1"} <= {*table.names}


def parse_napari(table: TableRows, problems: PointProblems) -> list[PointSet]:
    """Converts a table of napari into points in pixels.

    Axes are in the order of arrays, so that `axis-0` is y of a film and z of a volume;
    the centre of the first pixel is at 0. Points have the labels of a column `label`
    (a feature of the layer), else their number in the file, from 1.

    Args:
        table: `TableRows`.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    path, names = table.path, table.names
    axes = {
        int(match[1]): index
        for index, name in enumerate(names)
        if (match := _AXIS.fullmatch(name))
    }
    if sorted(axes) not in ([0, 1], [0, 1, 2]):
        raise ValueError(
            f"{path}, line {table.rows[0][0]}: a table of napari must have the columns "
            "axis-0 and axis-1 (y, x), or axis-0 to axis-2 (z, y, x). Received: "
            f"{', '.join(table.header)}"
        )
    columns = [axes[axis] for axis in sorted(axes, reverse=True)]  # x, y(, z)
    rows = with_decimal_points(table, columns, problems)
    label = next((names.index(name) for name in _LABEL if name in names), None)
    labels = [
        str(n) if label is None else fields[label]
        for n, (_, fields) in enumerate(rows, 1)
    ]
    points = np.full((len(rows), len(columns)), np.nan)
    for row, (name, (line, fields)) in enumerate(zip(labels, rows, strict=True)):
        with problems.of():
            points[row] = parse_position(
                [fields[index] for index in columns],
                f"{path}, line {line}: the position of {name!r}",
                len(columns),
                [table.header[index] for index in columns],
            )
    used = {*columns, label, names.index("index") if "index" in names else None}
    return [
        PointSet(
            labels,
            points,
            lines=[line for line, _ in rows],
            notes=unread_columns(table, used),
            numbered=label is None,
        )
    ]


def unread_columns(table: TableRows, used: set[int | None]) -> Sequence[str]:
    """Returns a note on the columns of a table that are not read."""
    others = [
        repr(name)
        for index, name in enumerate(table.header)
        if index not in used and name
    ]
    if not others:
        return ()
    return (f"{table.path}: columns that are not read: {', '.join(others)}.",)
