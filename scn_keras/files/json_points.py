"""Points in JSON: the format of this package."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files._visibility import VISIBILITY, with_visibility
from scn_keras.files.located_json import JsonObject, image_size_in, objects_in
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.text_values import parse_position


def parse_json(
    path: Path, data: JsonObject, space: str | None, problems: PointProblems
) -> list[PointSet]:
    """Converts JSON in the format of this package into points.

    `{"space": "pixels", "image": "1.png", "points": [{"label": "sella",
    "position": [83.5, 99]}, {"label": "nasion", "position": null}]}`, or several such
    objects in a list `images`.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        space: Str, the space of images that have none; None for pixels.
        problems: `PointProblems`, to which invalid positions are added.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
    """
    images = objects_in(path, data, "images") if "images" in data else [data]
    sets = []
    for image in images:
        image_space = image.get("space", data.get("space", space or "pixels"))
        if image_space not in SPACES:
            raise ValueError(
                f"{path}, line {image.line}: `space` must be one of {SPACES}. "
                f"Received: space={image_space!r}"
            )
        name = str(image.get("image", ""))
        entries = objects_in(path, image, "points")
        axes = next((n for n in map(_axes, entries) if n), 2)
        labels, points, lines = [], [], []
        for point in entries:
            with problems.of(name):
                points.append(_position(path, point, axes))
                labels.append(point["label"])
                lines.append(point.line)
        sets.append(
            PointSet(
                labels,
                np.reshape(points, (-1, axes)),
                image_space,
                name,
                lines=lines,
                image_size=image_size_in(path, image, "width", "height"),
                notes=_unread(path, [data, image], entries),
            )
        )
    return sets


def _axes(point: JsonObject) -> int:
    """Returns the number of coordinates of a point, 0 for none."""
    position = point.get("position")
    return (
        len(position) if isinstance(position, list) and len(position) in (2, 3) else 0
    )


def _position(path: Path, point: JsonObject, axes: int) -> np.ndarray:
    label = point.get("label")
    if not isinstance(label, str) or not label:
        raise ValueError(f"{path}, line {point.line}: the point has no label.")
    where = f"{path}, line {point.line}: the position of {label!r}"
    values = point.get("position")
    if values is not None and not _axes(point):
        raise ValueError(
            f"{where} must be a list of 2 or 3 numbers. Received: {values!r}"
        )
    position = parse_position(values or [None] * axes, where, axes)
    for key in VISIBILITY:
        if point.get(key) is not None:
            position = with_visibility(position, point[key], key, where)
    return position


def _unread(
    path: Path, images: Sequence[JsonObject], points: Sequence[JsonObject]
) -> Sequence[str]:
    """Returns a note on the fields that are not read."""
    known = {"space", "image", "points", "images", "width", "height"}
    keys = [key for image in images for key in image if key not in known]
    known = {"label", "position", *VISIBILITY}
    keys += [key for point in points for key in point if key not in known]
    if not keys:
        return ()
    names = ", ".join(map(repr, dict.fromkeys(keys)))
    return (f"{path}: fields that are not read: {names}.",)


def format_json(sets: Sequence[PointSet]) -> str:
    """Returns the text of a file in the format of this package.

    Args:
        sets: Sequence of `PointSet`, one for each image.
    """
    images = [
        {
            **({"image": points.image} if points.image else {}),
            "space": points.space,
            "points": [
                {"label": label, "position": None if np.isnan(row[0]) else row}
                for label, row in zip(
                    points.labels, points.points.tolist(), strict=True
                )
            ],
        }
        for points in sets
    ]
    data = images[0] if len(images) == 1 else {"images": images}
    return json.dumps(data, indent=2) + "\n"
