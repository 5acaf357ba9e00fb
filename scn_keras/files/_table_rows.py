"""Rows of text from CSV files."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from scn_keras.files._number_format import number_format
from scn_keras.files._point_problems import PointProblems
from scn_keras.files.shown_text import from_csv_text
from scn_keras.files.text_values import read_text

_DELIMITERS = ",;\t|"


@dataclasses.dataclass(frozen=True)
class TableRows:
    """The rows of a table, in which the first is the header.

    Args:
        path: Path, the file, for messages.
        rows: Sequence of pairs, the number of the line and the texts of its columns.
            Rows without text and columns without text at the right are left out.
        delimiter: Str, between columns; `""` if cells are stored as such.
    """

    path: Path
    rows: Sequence[tuple[int, list[str]]]
    delimiter: str

    @property
    def header(self) -> list[str]:
        """The texts of the first row."""
        return self.rows[0][1]

    @property
    def names(self) -> list[str]:
        """The texts of the first row in lower case."""
        return [name.lower() for name in self.header]

    def _line_of(self, count: int) -> int:
        return next(line for line, row in self.rows[1:] if len(row) == count)

    def body(
        self, problems: PointProblems, header_rows: int = 1
    ) -> Sequence[tuple[int, list[str]]]:
        """Returns the rows below the header that are as long as the first row.

        Args:
            problems: `PointProblems`, to which each other row is added.
            header_rows: Int, the number of rows of the header.

        Raises:
            ValueError: If a row of the header, or most of the rows, are shorter or
                longer.
        """
        width = len(self.header)
        others = [len(row) for _, row in self.rows[header_rows:] if len(row) != width]
        if len(others) > max(1, len(self.rows[header_rows:]) / 2):
            raise ValueError(
                f"{self.path}: {len(others)} of {len(self.rows[header_rows:])} rows "
                f"must have {width} columns like the header. Decimal commas, and names "
                "with a comma, divide columns: save the table with semicolons between "
                f"columns. Received: {others[0]} columns on line "
                f"{self._line_of(others[0])}"
            )
        rows = []
        for number, (line, fields) in enumerate(self.rows):
            error = (
                f"{self.path}, line {line} must have {width} columns like the header. "
                f"Received: {len(fields)}"
            )
            if number < header_rows:
                if len(fields) != width:
                    raise ValueError(error)
                continue
            with problems.of(*fields):
                if len(fields) != width:
                    raise ValueError(error)
                rows.append((line, fields))
        return rows


def read_csv_rows(path: Path) -> TableRows:
    """Reads a CSV file with commas, semicolons, tabs or bars.

    A first line `sep=;` and a form of Unicode are recognised, as spreadsheets write.

    Args:
        path: Path, the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a table.
    """
    text = read_text(path, legacy=True)
    lines = text.splitlines()
    skipped = 0
    first = lines[0].strip().strip('"').lower()
    if first.startswith("sep=") and len(lines[0].strip().strip('"')) == 5:
        delimiter, skipped = first[4], 1
    elif first == "sep=":  # a tab, which was stripped
        delimiter, skipped = "\t", 1
    else:
        header = next(line for line in lines if line.strip())
        outside = "".join(header.split('"')[::2])
        delimiter = max(_DELIMITERS, key=outside.count)
    body = "".join(text.splitlines(keepends=True)[skipped:])
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    try:
        rows = [(reader.line_num + skipped, row) for row in reader]
    except csv.Error as error:
        line = reader.line_num + skipped
        raise ValueError(f"{path}, line {line} is not CSV: {error}.") from error
    return tidy_rows(path, rows, delimiter)


def tidy_rows(
    path: Path, rows: Sequence[tuple[int, Sequence[str]]], delimiter: str
) -> TableRows:
    """Strips the texts of rows and leaves out what is empty at the right and below."""
    stripped = [
        (line, [from_csv_text(text.strip()) for text in row]) for line, row in rows
    ]
    stripped = [(line, row) for line, row in stripped if any(row)]
    if not stripped:
        raise ValueError(f"The file of points is empty: {path}")
    width = max(
        max(index for index, text in enumerate(row, 1) if text) for _, row in stripped
    )
    # A row that ends earlier keeps its length, so that it can be refused.
    return TableRows(path, [(line, row[:width]) for line, row in stripped], delimiter)


def with_decimal_points(
    table: TableRows,
    columns: Sequence[int],
    problems: PointProblems,
    header_rows: int = 1,
) -> list[tuple[int, list[str]]]:
    """Returns the rows below the header, with decimal points in columns of numbers.

    Args:
        table: `TableRows`.
        columns: Sequence of int, the columns of numbers.
        problems: `PointProblems`, to which rows of another length than the header are
            added.
        header_rows: Int, the number of rows of the header.
    """
    rows = table.body(problems, header_rows)
    convert = number_format(
        (row[index] for _, row in rows for index in columns), table.delimiter
    )
    chosen = {*columns}
    return [
        (line, [convert(f) if i in chosen else f for i, f in enumerate(row)])
        for line, row in rows
    ]
