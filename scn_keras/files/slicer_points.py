"""Markups of 3D Slicer, `.mrk.json`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.located_json import JsonObject, objects_in
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)
SIGN = {"LPS": np.array([1.0, 1.0, 1.0]), "RAS": np.array([-1.0, -1.0, 1.0])}

# Codes of UCUM in mm, of which Slicer's schema lists mm and um.
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "nm": 1e-6}

# Whether a point with this status has a position, which may be tentative: preview. See
# PositionStatus in vtkMRMLMarkupsNode.h. "edit" is not in the schema but in files.
HAS_POSITION = {
    **{"undefined": False, "missing": False},
    **{"preview": True, "edit": True, "defined": True},
}


def parse_markups(path: Path, data: JsonObject, problems: PointProblems) -> PointSet:
    """Converts a `.mrk.json` file into points in LPS.

    All point lists of the file are joined. The control points of lines, curves, planes
    and other markups are listed in `PointSet.shapes`. A control point whose status is
    undefined or missing is a missing landmark. Points that are hidden, locked or not
    selected are points like any other. Units other than mm are converted.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        problems: `PointProblems`, to which invalid positions are added.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
    """
    labels: list[str] = []
    positions: list[np.ndarray] = []
    lines: list[int] = []
    shapes: list[tuple[str, str]] = []
    tentative: list[str] = []
    nodes = objects_in(path, data, "markups")
    if not any(_is_point_list(node) or node.get("controlPoints") for node in nodes):
        raise ValueError(f"{path} has no point list (markups of type Fiducial).")
    for node in nodes:
        factor = _factor(path, node)
        for number, point in enumerate(objects_in(path, node, "controlPoints"), 1):
            if not _is_point_list(node):
                kind = f"control point of a markup of type {node['type']}"
                shapes.append((str(point.get("label") or number), kind))
                continue
            with problems.of():
                label = _label(path, point, number)
                where = f"{path}, line {point.line}: the position of {label!r}"
                positions.append(_position(path, point, where) * factor)
                labels.append(label)
                lines.append(point.line)
                if point.get("positionStatus") in ("preview", "edit"):
                    tentative.append(label)
    return PointSet(
        labels,
        np.reshape(positions, (-1, 3)),
        "LPS",
        lines=lines,
        notes=tentative_notes(path, tentative),
        shapes=shapes,
    )


def tentative_notes(path: Path, labels: list[str]) -> list[str]:
    """Returns a note on positions of the status preview or edit.

    Args:
        path: Path, the file.
        labels: List of str, the labels of such points.
    """
    if not labels:
        return []
    return [
        f"{path}: the positions of {', '.join(labels)} are tentative "
        "(`positionStatus` preview or edit); they are used as points."
    ]


def _factor(path: Path, node: JsonObject) -> np.ndarray:
    """Returns the factors from the coordinates of a markup to millimetres in LPS."""
    sign = SIGN.get(str(node.get("coordinateSystem", "LPS")))
    if sign is None:
        raise ValueError(
            f"{path}, line {node.line}: `coordinateSystem` must be LPS or RAS. "
            f"Received: {node['coordinateSystem']!r}"
        )
    units = node.get("coordinateUnits", "mm")
    # Text, or the code, its scheme (UCUM) and its meaning.
    code = units[0] if isinstance(units, list) and len(units) == 3 else units
    if not isinstance(code, str) or code not in _MILLIMETRES:
        raise ValueError(
            f"{path}, line {node.line}: `coordinateUnits` must be one of "
            f"{', '.join(_MILLIMETRES)}. Received: {units!r}"
        )
    return sign * _MILLIMETRES[code]


def _is_point_list(node: JsonObject) -> bool:
    return node.get("type", "Fiducial") in ("Fiducial", "PointList")


def _label(path: Path, point: JsonObject, number: int) -> str:
    label = point.get("label", "")
    if isinstance(label, str | int) and str(label).strip():
        return str(label)
    raise ValueError(
        f"{path}, line {point.line}: control point {number} has no label. Name "
        "it in 3D Slicer, or remove it. Received: "
        f"label={label!r}"
    )


def _position(path: Path, point: JsonObject, where: str) -> np.ndarray:
    position = point.get("position")
    if position is not None and not isinstance(position, list):
        raise ValueError(f"{where} must be a list. Received: {position!r}")
    status = point.get("positionStatus")
    if status is not None and str(status) not in HAS_POSITION:
        raise ValueError(
            f"{path}, line {point.line}: `positionStatus` must be one of "
            f"{', '.join(HAS_POSITION)}. Received: {status!r}"
        )
    if not HAS_POSITION[str(status or "defined")]:
        return np.full(3, np.nan)
    parsed = parse_position(position or [None] * 3, where, 3)
    if status is not None and np.isnan(parsed[0]):
        raise ValueError(
            f"{where} must be three numbers where `positionStatus` is {status}. Set "
            f"`positionStatus` to undefined if it is missing. Received: {position!r}"
        )
    return parsed


def format_markups(points: PointSet, coordinate_system: str) -> str:
    """Returns the text of a `.mrk.json` file.

    Args:
        points: `PointSet`, in LPS.
        coordinate_system: Str, `"LPS"` or `"RAS"`, of the file.
    """
    control_points = []
    rows = (points.points * SIGN[coordinate_system]).tolist()
    for number, (label, row) in enumerate(zip(points.labels, rows, strict=True), 1):
        point: dict[str, Any] = {"id": str(number), "label": label}
        if np.isnan(row[0]):
            point["positionStatus"] = "undefined"
        else:
            point.update(position=row, positionStatus="defined")
        control_points.append(point)
    node = {
        "type": "Fiducial",
        "coordinateSystem": coordinate_system,
        "coordinateUnits": "mm",
        "controlPoints": control_points,
    }
    return json.dumps({"@schema": _SCHEMA, "markups": [node]}, indent=2) + "\n"
