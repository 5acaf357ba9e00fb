import dataclasses
import re
from typing import NamedTuple

from scn_keras.files._table_rows import TableRows
from scn_keras.files.point_set import PointSet
from scn_keras.files.table_formats import parse_rows

# A table with more invalid rows has another form than it seems to have.
_MAX_BAD_ROWS = 100


class BadRow(NamedTuple):
    """A row of a table that could not be read.

    Attributes:
        problem: Str, the error, which names the file and the line.
        texts: Tuple of str, the columns of the row.
    """

    problem: str
    texts: tuple[str, ...]


def parse_good_rows(
    table: TableRows, space: str | None, bad_rows: list[BadRow]
) -> list[PointSet]:
    """Converts a table into points like `parse_rows`, without its invalid rows.

    Args:
        table: `TableRows`.
        space: Str, see `parse_rows`.
        bad_rows: List of `BadRow`, to which each row that is left out is appended.

    Raises:
        ValueError: If the error is in the header or in no row, or there are more than
            100 invalid rows.
    """
    line_of_error = re.compile(rf"{re.escape(str(table.path))}, line (\d+)\b")
    while True:
        try:
            return parse_rows(table, space)
        except ValueError as error:
            match = line_of_error.search(str(error))
            line = int(match[1]) if match else -1
            bad = [row for row in table.rows[1:] if row[0] == line]
            if not bad or len(bad_rows) >= _MAX_BAD_ROWS or len(table.rows) == 2:
                raise
            bad_rows.append(BadRow(str(error), tuple(bad[0][1])))
            rows = [row for row in table.rows if row[0] != line]
            table = dataclasses.replace(table, rows=rows)
