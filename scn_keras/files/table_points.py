"""Points in CSV: an image per row (wide) or a landmark per row (long)."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

_IMAGE = ("image", "id", "file", "filename", "file_name", "image_id", "case", "path")
_LABEL = ("label", "landmark", "landmark_name", "name", "point")
# x, sella_x, sella_x_mm, "sella x (mm)"; the unit is "px" (the default) or "mm".
_COORDINATE = re.compile(
    r"(?:(.*?)[_ .-])?([xyz])(?:[_ (\[]+(px|mm)[)\]]?)?", re.IGNORECASE
)
_UNITS = {None: "pixels", "px": "pixels", "mm": "LPS"}

# As in COCO: 0 is not labelled, 1 occluded and 2 visible.
_VISIBILITY = ("visibility", "visible", "vis")
_VISIBLE = {
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
    **dict.fromkeys(("1", "1.0", "2", "2.0", "true", "yes"), True),
}
_OTHER_UNIT = re.compile(
    r"(?:(.*?)[_ .-])?[xyz][_ (\[]+"
    r"(?:[cdnuµ]?m|in|inch|pixels?|vox|voxels?|norm|rel|%)[)\]]*",
    re.IGNORECASE,
)

_FORMS = (
    "It must name the columns `image,sella_x,sella_y,...` (an image per row) or "
    "`image,label,x,y` (a landmark per row), with z in 3D and `_mm` at the end for "
    "millimetres (LPS)."
)


def parse_table(table: TableRows, space: str | None) -> list[PointSet]:
    """Converts a table with an image or a landmark per row into points.

    Args:
        table: `TableRows`.
        space: Str, the space of columns without a unit; None for pixels.

    Returns:
        List of `PointSet`, one for each image.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    path, header = table.path, table.header
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(
            f"{path}, line {table.rows[0][0]}: the names of columns must differ from "
            f"each other. Received more than once: {repeated}"
        )
    groups = _coordinate_columns(path, header, space)
    rows = with_decimal_points(
        table, [index for columns, _ in groups.values() for index in columns]
    )
    names = table.names
    image = next((names.index(name) for name in _IMAGE if name in names), None)
    if len(groups) == 1 and "" in groups:
        return _read_long(path, header, rows, groups[""], image)
    if "" in groups:
        raise ValueError(
            f"{path}, line 1: each column of coordinates must begin with the name of a "
            f"landmark. {_FORMS} Received: {header[groups[''][0][0]]!r}"
        )
    if image is None:
        if _COORDINATE.fullmatch(header[0]):
            raise ValueError(f"{path}, line 1 has no column of images. {_FORMS}")
        image = 0
    return _read_wide(path, header, rows, groups, image)


def format_table(sets: Sequence[PointSet], layout: str) -> str:
    """Returns the text of a CSV file.

    Args:
        sets: Sequence of `PointSet` in one space, one for each image.
        layout: Str, `"long"` or `"wide"`.
    """
    space, axes = sets[0].space, sets[0].points.shape[1]
    unit = "_mm" if space == "LPS" else ""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    if layout == "long":
        named = any(points.image for points in sets)
        columns = [f"{axis}{unit}" for axis in "xyz"[:axes]]
        writer.writerow([*["image"] * named, "label", *columns])
        for points in sets:
            for label, row in zip(points.labels, points.points, strict=True):
                writer.writerow([*[points.image] * named, label, *_texts(row)])
    else:
        labels = [*dict.fromkeys(label for points in sets for label in points.labels)]
        writer.writerow(
            ["image", *(f"{n}_{a}{unit}" for n in labels for a in "xyz"[:axes])]
        )
        for points in sets:
            writer.writerow([points.image, *_texts(points.ordered(labels).ravel())])
    return out.getvalue()


def _texts(values: np.ndarray) -> list[str]:
    return ["" if np.isnan(value) else repr(value) for value in values.tolist()]


def _coordinate_columns(
    path: Path, header: list[str], space: str | None
) -> dict[str, tuple[list[int], str]]:
    """Returns columns x, y(, z) and the space of each label, `""` in the long form."""
    columns_of: dict[tuple[str, str], dict[str, int]] = {}
    for index, name in enumerate(header):
        if match := _COORDINATE.fullmatch(name):
            label, axis, unit = match.groups()
            column_space = _UNITS[unit and unit.lower()]
            if unit is None and space is not None:
                column_space = space
            key = label or "", column_space
            columns_of.setdefault(key, {})[axis.lower()] = index
    groups: dict[str, tuple[list[int], str]] = {}
    preferred = space or "pixels"
    for (label, column_space), axes in columns_of.items():
        # Of pixels and millimetres, those in the preferred space are read.
        if label in groups and column_space != preferred:
            continue
        if sorted(axes) not in (["x", "y"], ["x", "y", "z"]):
            raise ValueError(
                f"{path}, line 1: {label or 'the point'!r} must have columns for x and "
                f"y, or for x, y and z. Received: {sorted(axes)}"
            )
        groups[label] = ([axes[axis] for axis in sorted(axes)], column_space)
    kinds = {(len(columns), space) for columns, space in groups.values()}
    for name in header:
        match = _OTHER_UNIT.fullmatch(name)
        if groups and match and (match[1] or "") not in groups:
            raise ValueError(
                f"{path}, line 1: the unit of the column {name!r} must be px or mm. "
                "Convert the coordinates to one of them."
            )
    if not groups or len(kinds) > 1:
        raise ValueError(
            f"{path}, line 1 is not the header of a table of points. {_FORMS}"
        )
    return groups


def _read_wide(
    path: Path,
    header: list[str],
    rows: Sequence[tuple[int, list[str]]],
    groups: dict[str, tuple[list[int], str]],
    image: int,
) -> list[PointSet]:
    used = {image, *(index for columns, _ in groups.values() for index in columns)}
    visibility = {
        label: index
        for label in groups
        for index, name in enumerate(header)
        if re.split(r"[_ .-](?=[^_ .-]*$)", name.lower())
        in ([label.lower(), word] for word in _VISIBILITY)
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
    for line, fields in rows:
        id = fields[image]
        if not id:
            raise ValueError(f"{path}, line {line} has no name of an image.")
        if id in sets:
            raise ValueError(
                f"{path}, line {line}: an image must have one row. Received: {id!r}, "
                f"which is on line {sets[id].lines[0]} already"
            )
        points = [
            _position(
                [fields[index] for index in columns],
                fields[visibility[label]] if label in visibility else "",
                f"{path}, line {line}: the position of {label!r}",
            )
            for label, (columns, _) in groups.items()
        ]
        attributes = {header[i]: v for i, v in enumerate(fields) if i not in used}
        lines = [line] * len(groups)
        sets[id] = PointSet(
            [*groups], np.stack(points), space, id, attributes, lines, notes=notes
        )
    return list(sets.values())


def _read_long(
    path: Path,
    header: list[str],
    rows: Sequence[tuple[int, list[str]]],
    group: tuple[list[int], str],
    image: int | None,
) -> list[PointSet]:
    columns, space = group
    names = [name.lower() for name in header]
    label = next((names.index(name) for name in _LABEL if name in names), None)
    if label is None:
        raise ValueError(f"{path}, line 1 has no column of labels. {_FORMS}")
    visible = next((names.index(name) for name in _VISIBILITY if name in names), None)
    used = {image, label, visible, *columns}
    others = [index for index in range(len(header)) if index not in used]
    extra = [
        index
        for index in others
        if re.fullmatch(r"[xyz]\W*\d*|row|col|column|slice|depth", names[index])
        or _OTHER_UNIT.fullmatch(names[index])
    ]
    notes = _unread(path, header, rows, extra)
    images: dict[str, list[tuple[int, list[str]]]] = {}
    for line, fields in rows:
        id = "" if image is None else fields[image]
        if (image is not None and not id) or not fields[label]:
            raise ValueError(
                f"{path}, line {line} has no name of an image or of a landmark."
            )
        images.setdefault(id, []).append((line, fields))
    sets = []
    for id, part in images.items():
        points = [
            _position(
                [fields[index] for index in columns],
                "" if visible is None else fields[visible],
                f"{path}, line {line}: the position of {fields[label]!r}",
            )
            for line, fields in part
        ]
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
                labels, np.stack(points), space, id, attributes, lines, notes=notes
            )
        )
    return sets


def _position(values: list[str], visibility: str, where: str) -> np.ndarray:
    """Returns a position, NaN for a landmark that is not labelled.

    Args:
        values: List of str, the coordinates.
        visibility: Str, the value of the column of visibility; `""` for none.
        where: Str, the beginning of an error message.
    """
    position = parse_position(values, where, len(values))
    if not visibility:
        return position
    labelled = _VISIBLE.get(visibility.lower())
    missing = bool(np.isnan(position[0]))
    if labelled is None:
        raise ValueError(
            f"{where} must have the visibility 0 (not labelled), 1 (occluded) or 2 "
            f"(visible). Received: {visibility!r}"
        )
    if not labelled and not missing and position.any():
        raise ValueError(
            f"{where} must be empty where its visibility is {visibility}. Empty it if "
            "the landmark is not labelled, or write 1 if it is labelled but occluded. "
            f"Received: {', '.join(values)}"
        )
    if labelled and missing:
        raise ValueError(
            f"{where} must be numbers where its visibility is {visibility}. Write the "
            f"visibility 0 if the landmark is not labelled. Received: no coordinates"
        )
    return position if labelled else np.full(len(values), np.nan)


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
