"""Points of the VGG Image Annotator (VIA), versions 1 and 2, in JSON and CSV."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows
from scn_keras.files.located_json import JsonObject, text_fields
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

# Attributes of regions that may have the name of the landmark, in this order.
_LABELS = ("name", "label", "landmark", "keypoint", "id", "type", "class")


def is_via_table(table: TableRows) -> bool:
    """Returns whether a table is an export of VIA."""
    return {"filename", "region_shape_attributes"} <= {*table.names}


def parse_via_table(table: TableRows, problems: PointProblems) -> list[PointSet]:
    """Converts a CSV export of VIA into points, see `parse_via`.

    Args:
        table: `TableRows`.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Raises:
        ValueError: If the table is not valid. The message names file and line.
    """
    path, names = table.path, table.names
    cells = [
        names.index(name) if name in names else None
        for name in ("filename", "region_shape_attributes", "region_attributes")
    ]
    images: dict[str, list[tuple[int, Any, Any]]] = {}
    sizes: dict[str, int | None] = {}
    for line, fields in table.body(problems):
        name, shape, attributes = ("" if c is None else fields[c] for c in cells)
        regions = images.setdefault(name, [])
        if "file_size" in names:
            sizes[name] = _bytes(fields[names.index("file_size")])
        with problems.of(name):
            region = _region(f"{path}, line {line}", shape, attributes)
            if region[0]:  # a row of an image without regions
                regions.append((line, *region))
    return [
        dataclasses.replace(
            _points(path, name, regions, problems), file_size=sizes.get(name)
        )
        for name, regions in images.items()
    ]


def _region(where: str, shape: str, attributes: str) -> tuple[Any, Any]:
    """Returns the two columns of a region, which are JSON."""
    try:
        return json.loads(shape or "{}"), json.loads(attributes or "{}")
    except (RecursionError, ValueError) as error:
        raise ValueError(
            f"{where}: the attributes of a region must be JSON. Received: "
            f"{shape[:60]!r}"
        ) from error


def is_via(data: JsonObject) -> bool:
    """Returns whether JSON is a project or an export of VIA."""
    if "_via_img_metadata" in data:
        return True
    return bool(data) and all(
        isinstance(value, JsonObject) and {"filename", "regions"} <= {*value}
        for value in data.values()
    )


def parse_via(path: Path, data: JsonObject, problems: PointProblems) -> list[PointSet]:
    """Converts a JSON export or a project of VIA into points.

    A region of the shape `point` is a landmark, named by the attribute `name` or
    `label` of the region, or by its only attribute. The edge of the first pixel is at
    0 in VIA, and at -0.5 in the result.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        problems: `PointProblems`, to which invalid regions are added.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
    """
    images = _object(path, data.line, data.get("_via_img_metadata", data), "images")
    sets = []
    for image in images.values():
        image = _object(path, data.line, image, "an image")
        line = getattr(image, "line", data.line)
        regions = image.get("regions") or []
        if isinstance(regions, Mapping):  # of version 1
            regions = [*regions.values()]
        if not isinstance(regions, list):
            raise ValueError(f"{path}, line {line}: 'regions' must be a list.")
        found = []
        for region in regions:
            region = _object(path, line, region, "a region")
            shape = region.get("shape_attributes") or {}
            attributes = region.get("region_attributes") or {}
            found.append((getattr(region, "line", line), shape, attributes))
        points = _points(path, str(image.get("filename", "")), found, problems)
        texts = image.get("file_attributes")
        attributes = text_fields(texts) if isinstance(texts, Mapping) else {}
        size = _bytes(image.get("size"))
        sets.append(dataclasses.replace(points, attributes=attributes, file_size=size))
    return sets


def _bytes(value: Any) -> int | None:
    """Returns a size in bytes, which is -1 for images that are not in files."""
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _object(path: Path, line: int, value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{path}, line {line}: {what} of VIA must be an object. Received: "
            f"{str(value)[:60]!r}"
        )
    return value


def _points(
    path: Path,
    image: str,
    regions: list[tuple[int, Any, Any]],
    problems: PointProblems,
) -> PointSet:
    labels, positions, lines, shapes = [], [], [], []
    for line, shape, attributes in regions:
        with problems.of(image):
            shape = _object(path, line, shape, "shape_attributes")
            attributes = _object(path, line, attributes, "region_attributes")
            kind = shape.get("name")
            label = _label(path, line, attributes, kind)
            if kind != "point":
                shapes.append((label, str(kind)))
                continue
            where = f"{path}, line {line}: the position of {label!r}"
            values = [shape.get("cx"), shape.get("cy")]
            position = parse_position(values, where, 2, ("cx", "cy"))
            if np.isnan(position[0]):
                raise ValueError(
                    f"{where} must have cx and cy. Received: {dict(shape)}"
                )
            labels.append(label)
            positions.append(position - 0.5)
            lines.append(line)
    return PointSet(
        labels, np.reshape(positions, (-1, 2)), image=image, lines=lines, shapes=shapes
    )


def _label(path: Path, line: int, attributes: Mapping[str, Any], kind: Any) -> str:
    """Returns the name of a region."""
    texts = {}
    for key, value in attributes.items():
        if isinstance(value, Mapping):  # check boxes: {"sella": true}
            chosen = [name for name, state in value.items() if state]
            value = chosen[0] if len(chosen) == 1 else ""
        if isinstance(value, str | int) and str(value).strip():
            texts[key] = str(value).strip()
    keys = [key for name in _LABELS for key in texts if key.lower() == name]
    if not keys and len(texts) == 1:
        keys = [*texts]
    if keys:
        return texts[keys[0]]
    if kind != "point":
        return ""
    raise ValueError(
        f"{path}, line {line}: the point must have a name in one attribute of its "
        f"region, for example 'name'. Received: {dict(attributes)}"
    )
