"""Tables of results of ImageJ and Fiji."""

import re
from collections.abc import Sequence

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files.find_images import is_image_name
from scn_keras.files.napari_points import unread_columns
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

# Columns that ImageJ writes beside X and Y.
_MEASUREMENTS = {
    *("Area", "Mean", "Min", "Max", "XM", "YM", "StdDev", "Mode", "Median", "IntDen"),
    *("RawIntDen", "%Area", "Slice", "Frame", "Ch", "Counter", "Count", "Perim."),
    *("BX", "BY", "Width", "Height", "Type", "Group"),
}
# Columns that ImageJ does not write.
_OTHER_TABLES = {
    *("image", "filename", "file", "case", "landmark", "name", "keypoint", "point"),
    "bodypart",
}


def is_imagej(table: TableRows) -> bool:
    """Returns whether a table has columns X and Y as ImageJ writes them.

    The first column, of numbers, has no name; or there are columns of measurements; or
    the column `Label` has names of images. A table with other columns of images or
    landmarks is none of ImageJ.
    """
    header = table.header
    if not {"X", "Y"} <= {*header} or _OTHER_TABLES & {*table.names}:
        return False
    if "label" in table.names:
        if "Label" not in header:
            return False
        index = header.index("Label")
        labels = [row[index] for _, row in table.rows[1:] if len(row) == len(header)]
        if all(is_image_name(_parts(label)[0]) for label in labels):
            return True
        if len({*labels}) == len(labels) > 1:  # names of landmarks
            return False
    return not header[0] or bool(_MEASUREMENTS & {*header})


def parse_imagej(table: TableRows, problems: PointProblems) -> list[PointSet]:
    """Converts a table of results of ImageJ into points in pixels.

    The image is that of the column `Label`. Points are named by the regions of the ROI
    manager, which ImageJ appends to it (`film.tif:sella`), if these have names of their
    own, else by their number in the image, from 1. Integer coordinates of points are
    centres of pixels, from 0. `Slice`, from 1, is z of a volume, if it is not the same
    for all points.

    ImageJ writes calibrated units for calibrated images, and y from below with the
    option "Invert Y coordinates"; neither is in the file.

    Args:
        table: `TableRows`.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    path, header = table.path, table.header
    columns = [header.index("X"), header.index("Y")]
    slices = header.index("Slice") if "Slice" in header else None
    rows = with_decimal_points(table, columns, problems)
    if slices is not None and len({fields[slices] for _, fields in rows}) > 1:
        columns.append(slices)
    label = header.index("Label") if "Label" in header else None
    by_image: dict[str, list[tuple[int, str, np.ndarray]]] = {}
    for line, fields in rows:
        image, name = ("", "") if label is None else _parts(fields[label])
        position = np.full(len(columns), np.nan)
        with problems.of(image):
            position = parse_position(
                [fields[index] for index in columns],
                f"{path}, line {line}: the position",
                len(columns),
                [header[index] for index in columns],
            )
        if len(columns) == 3:
            position[2] -= 1.0
        by_image.setdefault(image, []).append((line, name, position))
    measured = {i for i, name in enumerate(header) if name in _MEASUREMENTS}
    unnamed = {i for i, name in enumerate(header) if not name}
    notes = unread_columns(table, {*columns, label, slices, *unnamed, *measured})
    return [_points(image, points, notes) for image, points in by_image.items()]


def _parts(label: str) -> tuple[str, str]:
    """Returns the names of the image and the region of `film.tif:0001-0023:sella`."""
    image, *parts = re.split(r":(?![\\/])", label)
    names = [part for part in parts if not re.fullmatch(r"[\d-]+", part)]
    return image, names[-1] if names else ""


def _points(
    image: str,
    points: Sequence[tuple[int, str, np.ndarray]],
    notes: Sequence[str],
) -> PointSet:
    names = [name for _, name, _ in points]
    named = all(names) and len({*names}) == len(names)
    return PointSet(
        names if named else [str(n) for n in range(1, len(points) + 1)],
        np.stack([position for _, _, position in points]),
        image=image,
        lines=[line for line, _, _ in points],
        notes=notes,
        numbered=not named,
    )
