"""Tables of results of ImageJ and Fiji."""

import re
from collections.abc import Sequence

import numpy as np

from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files.find_images import is_image_name
from scn_keras.files.napari_points import unread_columns
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

# Columns that ImageJ writes beside X and Y.
_MEASUREMENTS = {
    *("Area", "Mean", "Min", "Max", "XM", "YM", "StdDev", "Mode", "Median", "IntDen"),
    *("RawIntDen", "%Area", "Slice", "Frame", "Ch", "Counter", "Count", "Perim."),
    *("BX", "BY", "Width", "Height", "Type", "Point", "Pos.", "Group"),
}


def is_imagej(table: TableRows) -> bool:
    """Returns whether a table has columns X and Y as ImageJ writes them.

    The first column, of numbers, has no name; or there are columns of measurements; or
    the column of labels has names of images.
    """
    header = table.header
    if not {"X", "Y"} <= {*header} or "image" in table.names:
        return False
    if not header[0] or _MEASUREMENTS & {*header}:
        return True
    return "Label" in header and all(
        is_image_name(_image(row[header.index("Label")]))
        for _, row in table.rows[1:]
        if len(row) == len(header)
    )


def parse_imagej(table: TableRows) -> list[PointSet]:
    """Converts a table of results of ImageJ into points in pixels.

    Points have their number in the image, from 1. The image is that of the column
    `Label`, without the slice or the region that ImageJ appends. Integer coordinates of
    points are centres of pixels, from 0. `Slice`, from 1, is z of a volume, if it is
    not the same for all points.

    ImageJ writes calibrated units for calibrated images, and y from below with the
    option "Invert Y coordinates"; neither is in the file.

    Args:
        table: `TableRows`.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    path, header = table.path, table.header
    columns = [header.index("X"), header.index("Y")]
    slices = header.index("Slice") if "Slice" in header else None
    rows = with_decimal_points(table, columns)
    if slices is not None and len({fields[slices] for _, fields in rows}) > 1:
        columns.append(slices)
    label = header.index("Label") if "Label" in header else None
    by_image: dict[str, list[tuple[int, np.ndarray]]] = {}
    for line, fields in rows:
        image = "" if label is None else _image(fields[label])
        position = parse_position(
            [fields[index] for index in columns],
            f"{path}, line {line}: the position",
            len(columns),
        )
        if len(columns) == 3:
            position[2] -= 1.0
        by_image.setdefault(image, []).append((line, position))
    measured = {i for i, name in enumerate(header) if name in _MEASUREMENTS}
    notes = unread_columns(table, {*columns, label, slices, 0, *measured})
    return [_numbered(image, points, notes) for image, points in by_image.items()]


def _image(label: str) -> str:
    """Returns the name of the image in a label such as `film.tif:0001-0023:slice`."""
    parts = re.split(r":(?![\\/])", label)
    return parts[0]


def _numbered(
    image: str, points: Sequence[tuple[int, np.ndarray]], notes: Sequence[str]
) -> PointSet:
    return PointSet(
        [str(number) for number in range(1, len(points) + 1)],
        np.stack([position for _, position in points]),
        image=image,
        lines=[line for line, _ in points],
        notes=notes,
        numbered=True,
    )
