"""Points in XML files of CVAT ("CVAT for images 1.1")."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position, read_text

_SHAPES = ("box", "polygon", "polyline", "cuboid", "ellipse", "mask", "tag")


def read_cvat(path: Path, problems: PointProblems) -> list[PointSet]:
    """Reads an XML file of CVAT.

    A point is a landmark with its label, and each point of a skeleton one with its own.
    Of `points` with several points, each is a landmark `label 1`, `label 2` and so on.
    Points outside are missing; occluded ones are points. The edge of the first pixel
    is at 0 in CVAT, and at -0.5 in the result.

    Args:
        path: Path, the file.
        problems: `PointProblems`, to which invalid positions are added.

    Returns:
        List of `PointSet` in pixels.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not XML of CVAT, or holds tracks. The message names
            file and image.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(f"{path} must be XML of CVAT, which has no <!DOCTYPE>.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"{path} is not XML: {error}.") from error
    if root.tag != "annotations":
        raise ValueError(
            f"{path} must be XML of CVAT for images 1.1, with the element "
            f"<annotations>. Received: <{root.tag}>"
        )
    if root.find("track") is not None:
        raise ValueError(
            f"{path} has tracks of a video. Export the task as 'CVAT for images 1.1', "
            "with its frames as images. Received: <track>"
        )
    return [_image(path, element, problems) for element in root.iter("image")]


def _image(path: Path, element: Any, problems: PointProblems) -> PointSet:
    name = element.get("name", "")
    where = f"{path}, image {name!r}"
    labels: list[str] = []
    positions: list[np.ndarray] = []
    shapes: list[tuple[str, str]] = []
    for shape in element:
        label = shape.get("label", "")
        if shape.tag == "points":
            points = [(shape, label)]
        elif shape.tag == "skeleton":
            points = [(p, p.get("label", "")) for p in shape.iter("points")]
        elif shape.tag in _SHAPES:
            shapes.append((label, shape.tag))
            continue
        else:
            raise ValueError(
                f"{where}: the element must be points, a skeleton or one of "
                f"{', '.join(_SHAPES)}. Received: <{shape.tag}>"
            )
        for point, label in points:
            rows = [row for row in point.get("points", "").split(";") if row.strip()]
            for number, row in enumerate(rows, 1):
                one = label if len(rows) == 1 else f"{label} {number}"
                with problems.of(name):
                    if not label.strip():
                        raise ValueError(f"{where}: a point has no label.")
                    position = _position(
                        point, row, f"{where}: the position of {one!r}"
                    )
                    labels.append(one)
                    positions.append(position - 0.5)
    size = element.get("width", ""), element.get("height", "")
    if any(size) and not all(value.isdecimal() for value in size):
        raise ValueError(
            f"{where}: width and height must be two whole numbers. Received: {size}"
        )
    return PointSet(
        labels,
        np.reshape(positions, (-1, 2)),
        image=name,
        # The subset of a project, such as Train.
        attributes={"subset": element.get("subset")} if element.get("subset") else {},
        image_size=(int(size[0]), int(size[1])) if any(size) else None,
        shapes=shapes,
    )


def _position(point: Any, row: str, where: str) -> np.ndarray:
    states = {}
    for key in ("outside", "occluded"):
        states[key] = point.get(key, "0")
        if states[key] not in ("0", "1"):
            raise ValueError(f"{where}: {key} must be 0 or 1. Received: {states[key]}")
    position = parse_position(row.split(","), where, 2)
    return np.full(2, np.nan) if states["outside"] == "1" else position
