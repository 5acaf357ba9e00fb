"""Rows of text from Excel workbooks."""

import zipfile
from pathlib import Path
from typing import Any

from scn_keras.files._reader_limits import allow_bytes
from scn_keras.files._reader_process import in_reader_process
from scn_keras.files._table_rows import TableRows, tidy_rows

# Of the parts of a workbook when unpacked. Points of 10,000 images take half of it.
_MAX_BYTES = 2**25
_MAX_CELLS = 1_000_000


def read_excel_rows(path: Path) -> TableRows:
    """Reads the only sheet with text of an Excel workbook.

    Args:
        path: Path, a `.xlsx` or `.xlsm` file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ImportError: If openpyxl is not installed.
        ValueError: If the file is not such a workbook, several sheets have text, or a
            formula has no stored value.
    """
    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"openpyxl is needed to read {path}. Install it by "
            "`pip install scn-keras[excel]`, or save the table as CSV."
        ) from error
    if not path.exists():
        raise FileNotFoundError(f"The file of points does not exist: {path}")
    if not path.is_file():
        raise ValueError(f"The file of points must be a regular file. Received: {path}")
    sheets = dict(_sheets_with_text(path))
    if len(sheets) != 1:
        raise ValueError(
            f"{path} must have text on one sheet only. Move the points to a workbook "
            f"of their own. Received: {', '.join(sheets) or 'empty sheets'}"
        )
    (rows,) = sheets.values()
    return tidy_rows(path, rows, "")


@in_reader_process
def _sheets_with_text(path: Path) -> list[tuple[str, list[tuple[int, list[str]]]]]:
    """Returns the name of each sheet that has text, and its rows."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > _MAX_BYTES:
            raise ValueError(
                f"{path} must have at most {_MAX_BYTES:,} bytes when unpacked. Save "
                f"the table as CSV. Received: {size:,} bytes"
            )
        allow_bytes(size)
        values, formulas = (_sheets(path, stored) for stored in (True, False))
    except Exception as error:  # openpyxl raises many kinds for damaged workbooks
        if str(path) in str(error):
            raise
        raise ValueError(
            f"{path} is not an Excel workbook, or is damaged or has a password: {error}"
        ) from error
    sheets = []
    for name, rows in values.items():
        texts = []
        for line, (cells, sources) in enumerate(
            zip(rows, formulas[name], strict=True), 1
        ):
            pairs = zip(cells, sources, strict=False)
            if any(cell is None and source is not None for cell, source in pairs):
                raise ValueError(
                    f"{path}, sheet {name!r}, row {line}: a formula has no stored "
                    "value. Open the workbook in Excel and save it, or save as CSV."
                )
            texts.append((line, [_text(cell) for cell in cells]))
        width = max((len(row) for _, row in texts), default=0)
        for _, row in texts:
            row += [""] * (width - len(row))
        if any(any(row) for _, row in texts):
            sheets.append((name, texts))
    return sheets


def _sheets(path: Path, stored: bool) -> dict[str, list[tuple]]:
    import openpyxl

    with path.open("rb") as file:
        book = openpyxl.load_workbook(file, read_only=True, data_only=stored)
        try:
            return {sheet.title: _cells(path, sheet) for sheet in book.worksheets}
        finally:
            book.close()


def _cells(path: Path, sheet: Any) -> list[tuple]:
    # The stated extent may be that of the largest possible sheet.
    sheet.reset_dimensions()
    rows: list[tuple] = []
    count = 0
    for row in sheet.iter_rows(values_only=True):
        rows.append(row)
        count += len(row) + 1
        if count > _MAX_CELLS:
            raise ValueError(
                f"{path}, sheet {sheet.title!r} must have at most {_MAX_CELLS:,} cells "
                "with the empty ones. Delete unused rows, or save the table as CSV."
            )
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)
