"""Points in JSON: our own simple form, labelme and COCO keypoints."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scn_keras.files.located_json import JsonObject, objects_in
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.text_values import parse_position


def parse_json(path: Path, data: JsonObject, space: str | None) -> list[PointSet]:
    """Turns the content of a file in our own form into points.

    `{"space": "pixels", "image": "1.png", "points": [{"label": "sella",
    "position": [83.5, 99]}, {"label": "nasion", "position": null}]}`, or several such
    objects in a list `images`.
    """
    images = objects_in(path, data, "images") if "images" in data else [data]
    sets = []
    for image in images:
        own = image.get("space", data.get("space", space or "pixels"))
        if own not in SPACES:
            raise ValueError(
                f"{path}, line {image.line}: `space` must be one of {SPACES}. "
                f"Received: {own!r}"
            )
        labels, positions, lines = [], [], []
        axes = 0
        for point in objects_in(path, image, "points"):
            label = point.get("label")
            if not isinstance(label, str) or not label:
                raise ValueError(f"{path}, line {point.line}: the point has no label.")
            where = f"{path}, line {point.line}: the position of {label!r}"
            position = point.get("position")
            if position is not None:
                if not isinstance(position, list) or len(position) not in (2, 3):
                    raise ValueError(
                        f"{where} must be a list of 2 or 3 numbers. Received: "
                        f"{position!r}"
                    )
                axes = axes or len(position)
            labels.append(label)
            positions.append((position, where))
            lines.append(point.line)
        axes = axes or 2
        points = [parse_position(p or [None] * axes, w, axes) for p, w in positions]
        sets.append(
            PointSet(
                labels,
                np.reshape(points, (-1, axes)),
                own,
                str(image.get("image", "")),
                lines=lines,
            )
        )
    return sets


def format_json(sets: Sequence[PointSet]) -> str:
    """Returns the text of a file in our own form."""
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


def parse_labelme(path: Path, data: JsonObject) -> PointSet:
    """Turns the content of a labelme file into points; its other shapes are not read.

    In labelme the edge of the first pixel is at 0, here its centre is.
    """
    labels, positions, lines = [], [], []
    for shape in objects_in(path, data, "shapes"):
        if shape.get("shape_type", "point") != "point":
            continue
        label = str(shape.get("label", ""))
        where = f"{path}, line {shape.line}: the position of {label!r}"
        points = shape.get("points")
        if not isinstance(points, list) or len(points) != 1:
            raise ValueError(f"{where} must be one point. Received: {points!r}"[:300])
        position = points[0] if isinstance(points[0], list) else points
        labels.append(label)
        positions.append(parse_position(position, where, 2) - 0.5)
        lines.append(shape.line)
    image = str(data.get("imagePath", ""))
    return PointSet(labels, np.reshape(positions, (-1, 2)), image=image, lines=lines)


def parse_coco(path: Path, data: JsonObject) -> list[PointSet]:
    """Turns the content of a COCO keypoints file into points, one set an image.

    A keypoint of visibility 0 is missing. Coordinates are as stored: COCO counts
    whole pixels from 0.
    """
    images = {image.get("id"): image for image in objects_in(path, data, "images")}
    categories = {c.get("id"): c for c in objects_in(path, data, "categories")}
    sets: dict[object, PointSet] = {}
    for annotation in objects_in(path, data, "annotations"):
        if "keypoints" not in annotation:
            continue
        where = f"{path}, line {annotation.line}"
        image = images.get(annotation.get("image_id"))
        if image is None or not isinstance(image.get("file_name"), str):
            raise ValueError(
                f"{where}: the annotation's image is not in the list of images. "
                f"Received: image_id={annotation.get('image_id')!r}"
            )
        if image["id"] in sets:
            raise ValueError(
                f"{where}: {image['file_name']} has keypoints already, on line "
                f"{sets[image['id']].lines[0]}. Landmarks are of one object an image."
            )
        category = categories.get(annotation.get("category_id"), JsonObject())
        names = category.get("keypoints")
        values = annotation["keypoints"]
        if not isinstance(names, list) or not isinstance(values, list):
            raise ValueError(f"{where}: its category does not name the keypoints.")
        if len(values) != 3 * len(names):
            raise ValueError(
                f"{where} must have x, y and visibility of {len(names)} keypoints. "
                f"Received: {len(values)} numbers."
            )
        points = np.full((len(names), 2), np.nan)
        for row, name in enumerate(names):
            *position, visibility = values[3 * row : 3 * row + 3]
            if visibility != 0:
                points[row] = parse_position(position, f"{where}: {name!r}", 2)
        sets[image["id"]] = PointSet(
            [str(name) for name in names],
            points,
            image=image["file_name"],
            lines=[annotation.line] * len(names),
        )
    return list(sets.values())
