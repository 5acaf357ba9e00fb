"""Points in JSON exports of Label Studio."""

import re
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.find_images import is_image_name
from scn_keras.files.located_json import (
    JsonObject,
    image_size_in,
    objects_in,
    text_fields,
)
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

# Label Studio puts eight hexadecimal digits before the names of uploaded files.
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


def parse_label_studio(
    path: Path, tasks: list[Any], problems: PointProblems
) -> list[PointSet]:
    """Converts an export "JSON" or "JSON-MIN" of Label Studio into points.

    A region of key points is a landmark with its label. Coordinates are percent of the
    width and height of the image, from its left and upper edges; the edge of the first
    pixel is at -0.5 in the result. Annotations that were cancelled are left out. The
    digits before the names of uploaded files are removed.

    Args:
        path: Path, the file, for messages.
        tasks: List of `JsonObject`, its content.
        problems: `PointProblems`, to which invalid tasks and positions are added.

    Raises:
        ValueError: If the content is not valid, or a task has several annotations. The
            message names file and line.
    """
    sets = []
    for task in tasks:
        if not isinstance(task, JsonObject) or not _is_task(task):
            raise ValueError(
                f"{path}: a list in JSON must be an export of Label Studio, with "
                "`annotations` and `data` or with regions of key points. Received: "
                f"{str(task)[:60]}"
            )
        with problems.of(_image_name(task)):
            sets.append(_points(path, task, _results(path, task), problems))
    return sets


def _is_task(task: JsonObject) -> bool:
    return "annotations" in task or any(_is_region_list(v) for v in task.values())


def _is_region_list(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(v, JsonObject) and "original_width" in v for v in value
    )


def _results(path: Path, task: JsonObject) -> list[JsonObject]:
    """Returns the regions of a task, all in the form of "JSON"."""
    if "annotations" not in task:
        regions = [
            v for value in task.values() if _is_region_list(value) for v in value
        ]
        return [_from_minimal(region) for region in regions]
    annotations = [
        annotation
        for annotation in objects_in(path, task, "annotations")
        if not annotation.get("was_cancelled")
    ]
    if len(annotations) > 1:
        raise ValueError(
            f"{path}, line {task.line}: a task must have one annotation. Export one "
            f"annotator, or delete the others. Received: {len(annotations)} annotations"
        )
    return [r for a in annotations for r in objects_in(path, a, "result")]


def _from_minimal(region: JsonObject) -> JsonObject:
    kinds = [key for key in region if key.endswith("labels")]
    outer = ("original_width", "original_height", "image_rotation")
    result = JsonObject({key: region[key] for key in outer if key in region})
    result["type"] = kinds[0] if kinds else "unknown"
    result["value"] = region
    result.line = region.line
    return result


def _points(
    path: Path,
    task: JsonObject,
    results: list[JsonObject],
    problems: PointProblems,
) -> PointSet:
    image = _image_name(task)
    labels, positions, lines, shapes = [], [], [], []
    size = None
    notes = []
    if task.get("predictions") and not results:
        notes.append(
            f"{path}, line {task.line}: predictions of Label Studio are not read. "
            "Accept those that are right as annotations."
        )
    for result in results:
        value, kind = result.get("value"), str(result.get("type"))
        if not isinstance(value, JsonObject) or kind == "choices":
            continue
        names = value.get(kind)
        name = names[0] if isinstance(names, list) and len(names) == 1 else None
        if kind != "keypointlabels":
            shapes.append((str(name or ""), kind))
            continue
        where = f"{path}, line {result.line}"
        with problems.of(image):
            if not isinstance(name, str):
                raise ValueError(
                    f"{where}: a key point must have one label. Received: {names!r}"
                )
            size = _size(path, result, size)
            values = [value.get("x"), value.get("y")]
            position = parse_position(
                values, f"{where}: the position of {name!r}", 2, "xy"
            )
            if np.isnan(position[0]):
                raise ValueError(f"{where}: {name!r} must have x and y. Received: none")
            labels.append(name)
            positions.append(position / 100.0 * size - 0.5)
            lines.append(result.line)
    return PointSet(
        labels,
        np.reshape(positions, (-1, 2)),
        image=image,
        attributes=_attributes(task),
        lines=lines,
        image_size=size,
        notes=notes,
        shapes=shapes,
    )


def _size(
    path: Path, result: JsonObject, size: tuple[int, int] | None
) -> tuple[int, int]:
    """Returns the size of the image of a key point, which is that of the others."""
    found = image_size_in(path, result, "original_width", "original_height")
    if found is None or (size or found) != found or result.get("image_rotation"):
        raise ValueError(
            f"{path}, line {result.line}: the key points of an image must have one "
            "original_width and original_height, and no image_rotation. Received: "
            f"{found}, {size}, image_rotation={result.get('image_rotation')!r}"
        )
    return found


def _attributes(task: JsonObject) -> dict[str, str]:
    """Returns the data of a task other than the image, such as the patient."""
    data = task.get("data")
    if not isinstance(data, JsonObject):
        return {}
    return {key: v for key, v in text_fields(data).items() if not is_image_name(v)}


def _image_name(task: JsonObject) -> str:
    """Returns the name of the image of a task, as before it was uploaded."""
    data = task.get("data", task)
    texts = {
        key: value
        for key, value in (data.items() if isinstance(data, JsonObject) else ())
        if isinstance(value, str) and ("/" in value or "." in value)
    }
    name = texts.get("image") or texts.get("img") or next(iter(texts.values()), "")
    parts = urllib.parse.urlsplit(name)
    local = urllib.parse.parse_qs(parts.query).get("d", [""])[0]
    name = (local or urllib.parse.unquote(parts.path)).rsplit("/", 1)[-1]
    return _UPLOAD.sub("", name, count=1) if "/upload/" in parts.path else name
