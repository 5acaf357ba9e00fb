"""Points in JSON: the format of this package, labelme and COCO keypoints."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scn_keras.files.located_json import JsonObject, objects_in
from scn_keras.files.point_set import SPACES, PointSet
from scn_keras.files.text_values import parse_position


def parse_json(path: Path, data: JsonObject, space: str | None) -> list[PointSet]:
    """Converts JSON in the format of this package into points.

    `{"space": "pixels", "image": "1.png", "points": [{"label": "sella",
    "position": [83.5, 99]}, {"label": "nasion", "position": null}]}`, or several such
    objects in a list `images`.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        space: Str, the space of images that have none; None for pixels.

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
                image_space,
                str(image.get("image", "")),
                lines=lines,
            )
        )
    return sets


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


def parse_labelme(path: Path, data: JsonObject) -> PointSet:
    """Converts a labelme file into points. Shapes that are no points are skipped.

    The edge of the first pixel is at 0 in labelme, and at -0.5 in the result.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
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
    """Converts a COCO keypoints file into points, one set for each image.

    A keypoint of visibility 0 is missing. The centre of the first pixel is at 0, as in
    the file.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
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
                f"{where}: the image of the annotation is not in the list of images. "
                f"Received: image_id={annotation.get('image_id')!r}"
            )
        if image["id"] in sets:
            raise ValueError(
                f"{where}: an image can have the landmarks of one object only. "
                f"Received: {image['file_name']}, which has keypoints on line "
                f"{sets[image['id']].lines[0]} already"
            )
        category = categories.get(annotation.get("category_id"), JsonObject())
        names = category.get("keypoints")
        values = annotation["keypoints"]
        if not isinstance(names, list) or not isinstance(values, list):
            raise ValueError(
                f"{where}: the category must name its keypoints. Received: "
                f"keypoints={names!r}"
            )
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
