"""Points in files of labelme."""

from pathlib import Path

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.located_json import JsonObject, image_size_in, objects_in
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position


def parse_labelme(path: Path, data: JsonObject, problems: PointProblems) -> PointSet:
    """Converts a labelme file into points.

    A point is a landmark, and a circle is one at its centre. Other shapes are listed
    in `PointSet.shapes`. The edge of the first pixel is at 0 in labelme, and at -0.5 in
    the result.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        problems: `PointProblems`, to which invalid shapes are added.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
    """
    labels, positions, lines, shapes = [], [], [], []
    flags: dict[str, None] = {}
    for shape in objects_in(path, data, "shapes"):
        with problems.of():
            label = _label(path, shape)
            kind = shape.get("shape_type") or "point"
            if kind not in ("point", "points", "circle"):
                shapes.append((label, str(kind)))
                continue
            positions.append(_position(path, shape, label, kind))
            labels.append(label)
            lines.append(shape.line)
            if isinstance(shape.get("flags"), JsonObject):
                flags.update(dict.fromkeys(k for k, v in shape["flags"].items() if v))
    notes = []
    if flags:
        notes.append(
            f"{path}: flags of points are not read: {', '.join(map(repr, flags))}. A "
            "flagged point is a point."
        )
    return PointSet(
        labels,
        np.reshape(positions, (-1, 2)),
        image=str(data.get("imagePath") or ""),
        lines=lines,
        image_size=image_size_in(path, data, "imageWidth", "imageHeight"),
        notes=notes,
        shapes=shapes,
    )


def _label(path: Path, shape: JsonObject) -> str:
    label = shape.get("label")
    if not isinstance(label, str | int) or not str(label).strip():
        raise ValueError(
            f"{path}, line {shape.line}: the {shape.get('shape_type') or 'point'} has "
            f"no label. Name it in labelme. Received: label={label!r}"
        )
    return str(label)


def _position(path: Path, shape: JsonObject, label: str, kind: str) -> np.ndarray:
    points = shape.get("points")
    # A circle has its centre and a point on its line.
    count, expected = (
        (2, "a centre and a point of the circle")
        if kind == "circle"
        else (1, "one point")
    )
    where = f"{path}, line {shape.line}: the position of {label!r}"
    if not isinstance(points, list) or len(points) != count:
        received = repr(points)[:100]
        raise ValueError(
            f"{where} must be {expected}. Give each point a label of its own. "
            f"Received: shape_type={kind!r}, {received}"
        )
    position = points[0] if isinstance(points[0], list) else points
    parsed = parse_position(position, where, 2)
    if np.isnan(parsed[0]):
        raise ValueError(
            f"{where} must be two numbers. Remove the shape of a landmark that is "
            f"missing. Received: {position!r}"
        )
    return parsed - 0.5
