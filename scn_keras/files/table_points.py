"""Points in CSV: an image per row (wide) or a landmark per row (long)."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scn_keras.files._coordinate_columns import (
    COORDINATE,
    FORMS,
    OTHER_UNIT,
    coordinate_columns,
)
from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files._visibility import VISIBILITY, with_visibility
from scn_keras.files.find_images import is_image_name
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

_IMAGE = (
    *("image", "id", "file", "filename", "file_name", "image_id", "image_name"),
    *("image name", "file name", "image_path", "img", "case", "path"),
)
_LABEL = (
    *("label", "landmark", "landmark_name", "landmark name", "name", "point"),
    *("keypoint", "bodypart"),
)
# The size of the image, in pairs.
_SIZES = tuple(
    (f"{prefix}width", f"{prefix}height")
    for prefix in ("", "image_", "img_", "original_", "image", "image ")
)


def parse_table(
    table: TableRows, space: str | None, problems: PointProblems
) -> list[PointSet]:
    """Converts a table with an image or a landmark per row into points.

    Args:
        table: `TableRows`.
        space: Str, the space of columns without a unit; None for pixels.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Returns:
        List of `PointSet`, one for each image.

    Raises:
        ValueError: If the header is not valid. The message names file and line.
    """
    path, header = table.path, table.header
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(
            f"{path}, line {table.rows[0][0]}: the names of columns must differ from "
            f"each other. Received more than once: {repeated}"
        )
    groups = coordinate_columns(path, header, space)
    rows = with_decimal_points(
        table,
        [index for columns, _ in groups.values() for index in columns],
        problems,
    )
    names = table.names
    image = next((names.index(name) for name in _IMAGE if name in names), None)
    if image is None:
        image = _column_of_images(rows)
    if len(groups) == 1 and "" in groups:
        return _read_long(path, header, rows, groups[""], image, problems)
    if "" in groups:
        raise ValueError(
            f"{path}, line 1: each column of coordinates must begin with the name of a "
            f"landmark. {FORMS} Received: {header[groups[''][0][0]]!r}"
        )
    if image is None:
        if COORDINATE.fullmatch(header[0]):
            raise ValueError(f"{path}, line 1 has no column of images. {FORMS}")
        image = 0
    return _read_wide(path, header, rows, groups, image, problems)


def _column_of_images(rows: Sequence[tuple[int, list[str]]]) -> int | None:
    """Returns the only column with names of image files."""
    columns = [
        index
        for index in range(len(rows[0][1]) if rows else 0)
        if all(is_image_name(fields[index]) for _, fields in rows)
    ]
    return columns[0] if len(columns) == 1 else None


def _size(
    path: Path, line: int, header: list[str], fields: list[str]
) -> tuple[int, int] | None:
    """Returns the width and the height of the image in a row."""
    names = [name.lower() for name in header]
    for pair in _SIZES:
        if all(name in names for name in pair):
            texts = [fields[names.index(name)] for name in pair]
            if not any(texts):
                return None
            try:
                width, height = (float(text) for text in texts)
            except ValueError:
                width = height = 0.5
            if width % 1 or height % 1:
                raise ValueError(
                    f"{path}, line {line}: the columns {pair[0]} and {pair[1]} must be "
                    f"the size of the image in pixels. Received: {', '.join(texts)}"
                )
            return int(width), int(height)
    return None


def _read_wide(
    path: Path,
    header: list[str],
    rows: Sequence[tuple[int, list[str]]],
    groups: dict[str, tuple[list[int], str]],
    image: int,
    problems: PointProblems,
) -> list[PointSet]:
    used = {image, *(index for columns, _ in groups.values() for index in columns)}
    visibility = {
        label: index
        for label in groups
        for index, name in enumerate(header)
        if re.split(r"[_ .-](?=[^_ .-]*$)", name.lower())
        in ([label.lower(), word] for word in VISIBILITY)
    }
    used |= {*visibility.values()}
    notes = _unread(
        path,
        header,
        rows,
        [
            index
            for index, name in enumerate(header)
            if index not in used
            and any(re.match(re.escape(label) + "[_ .-]", name) for label in groups)
        ],
    )
    (space,) = {space for _, space in groups.values()}
    sets: dict[str, PointSet] = {}
    axes = len(next(iter(groups.values()))[0])
    for line, fields in rows:
        id = fields[image]
        with problems.of(*fields):
            if not id:
                raise ValueError(f"{path}, line {line} has no name of an image.")
            if id in sets:
                raise ValueError(
                    f"{path}, line {line}: an image must have one row. Received: "
                    f"{id!r}, which is on line {sets[id].lines[0]} already"
                )
            points = np.full((len(groups), axes), np.nan)
            for row, (label, (columns, _)) in enumerate(groups.items()):
                with problems.of(id):
                    points[row] = _position(
                        header,
                        fields,
                        columns,
                        visibility.get(label),
                        f"{path}, line {line}: the position of {label!r}",
                    )
            attributes = {header[i]: v for i, v in enumerate(fields) if i not in used}
            sets[id] = PointSet(
                [*groups],
                points,
                space,
                id,
                attributes,
                [line] * len(groups),
                _size(path, line, header, fields),
                notes,
            )
    return list(sets.values())


def _read_long(
    path: Path,
    header: list[str],
    rows: Sequence[tuple[int, list[str]]],
    group: tuple[list[int], str],
    image: int | None,
    problems: PointProblems,
) -> list[PointSet]:
    columns, space = group
    names = [name.lower() for name in header]
    label = next((names.index(name) for name in _LABEL if name in names), None)
    if label is None:
        raise ValueError(f"{path}, line 1 has no column of labels. {FORMS}")
    visible = next((names.index(name) for name in VISIBILITY if name in names), None)
    used = {image, label, visible, *columns}
    others = [index for index in range(len(header)) if index not in used]
    extra = [
        index
        for index in others
        if re.fullmatch(r"[xyz]\W*\d*|row|col|column|slice|depth", names[index])
        or OTHER_UNIT.fullmatch(names[index])
    ]
    notes = _unread(path, header, rows, extra)
    images: dict[str, list[tuple[int, list[str]]]] = {}
    for line, fields in rows:
        id = "" if image is None else fields[image]
        with problems.of(*fields):
            if (image is not None and not id) or not fields[label]:
                raise ValueError(
                    f"{path}, line {line} has no name of an image or of a landmark."
                )
            images.setdefault(id, []).append((line, fields))
    sets = []
    for id, part in images.items():
        points = np.full((len(part), len(columns)), np.nan)
        for row, (line, fields) in enumerate(part):
            with problems.of(id):
                points[row] = _position(
                    header,
                    fields,
                    columns,
                    visible,
                    f"{path}, line {line}: the position of {fields[label]!r}",
                )
        size = None
        with problems.of(id):
            size = _size(path, part[0][0], header, part[0][1])
        # A column that differs from row to row is not an attribute of the image.
        attributes = {
            header[index]: part[0][1][index]
            for index in others
            if len({fields[index] for _, fields in part}) == 1
        }
        labels = [fields[label] for _, fields in part]
        lines = [line for line, _ in part]
        sets.append(
            PointSet(
                labels,
                points,
                space,
                id,
                attributes,
                lines,
                size,
                notes,
            )
        )
    return sets


def _position(
    header: list[str],
    fields: list[str],
    columns: list[int],
    visible: int | None,
    where: str,
) -> np.ndarray:
    """Returns a position, NaN for a landmark that is not labelled.

    Args:
        header: List of str.
        fields: List of str, the columns of a row.
        columns: List of int, the columns of the coordinates.
        visible: Int, the column of visibility; None for none.
        where: Str, the beginning of an error message.
    """
    position = parse_position(
        [fields[index] for index in columns],
        where,
        len(columns),
        [header[index] for index in columns],
    )
    if visible is None or not fields[visible]:
        return position
    kind = re.split(r"[_ .-]", header[visible].lower())[-1]
    return with_visibility(position, fields[visible], kind, where)


def _unread(
    path: Path,
    header: list[str],
    rows: Sequence[tuple[int, list[str]]],
    columns: list[int],
) -> tuple[str, ...]:
    """Returns a note on those of some columns that consist of numbers."""
    numbers = re.compile(r"[-+]?[\d.]+(?:e[-+]?\d+)?|nan|", re.IGNORECASE)
    unread = [
        repr(header[index])
        for index in columns
        if all(numbers.fullmatch(fields[index]) for _, fields in rows)
    ]
    if not unread:
        return ()
    return (
        f"{path}: columns of numbers that are no coordinates of the points are not "
        f"read: {', '.join(unread)}.",
    )
