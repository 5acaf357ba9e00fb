"""Points in COCO keypoints files."""

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.located_json import (
    JsonObject,
    image_size_in,
    objects_in,
    text_fields,
)
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

# Fields of an image that are none of the patient.
_OF_COCO = (
    *("id", "file_name", "width", "height", "license", "flickr_url", "coco_url"),
    "date_captured",
)


def parse_coco(path: Path, data: JsonObject, problems: PointProblems) -> list[PointSet]:
    """Converts a COCO keypoints file into points, one set for each image.

    A keypoint of visibility 0 is missing, whatever its coordinates; one of visibility
    1 (occluded) or 2 (visible) is a point. An annotation with an empty list of
    keypoints is an object without landmarks, and one without such a list (a box, a
    segmentation) is listed in `PointSet.shapes`. The annotations of an image are joined
    if they are of different categories, as of tools that have a category per landmark.
    The centre of the first pixel is at 0, as in the file.

    Args:
        path: Path, the file, for messages.
        data: `JsonObject`, its content.
        problems: `PointProblems`, to which invalid annotations are added.

    Raises:
        ValueError: If the content is not valid. The message names file and line.
    """
    images = _by_id(path, data, "images")
    categories = _by_id(path, data, "categories")
    names_of = _keypoint_names(categories)
    by_image: dict[Any, dict[Any, PointSet]] = {}
    shapes: dict[Any, list[tuple[str, str]]] = {}
    for annotation in objects_in(path, data, "annotations"):
        where = f"{path}, line {annotation.line}"
        image = images.get(_id(annotation, "image_id"))
        if image is None or not isinstance(image.get("file_name"), str):
            raise ValueError(
                f"{where}: the image of the annotation is not in the list of images. "
                f"Received: image_id={annotation.get('image_id')!r}"
            )
        category_id = _id(annotation, "category_id")
        category = categories.get(category_id, JsonObject())
        sets = by_image.setdefault(image["id"], {})
        if annotation.get("keypoints") is None:
            label = str(category.get("name", category_id))
            shapes.setdefault(image["id"], []).append((label, _shape(annotation)))
            continue
        with problems.of(image["file_name"]):
            names = names_of.get(category_id)
            points = _points(
                where, annotation, category, names, image["file_name"], problems
            )
            previous = sets.get(category_id)
            if previous is None or _is_empty(previous):
                sets[category_id] = points
            elif not _is_empty(points):
                raise _several_objects(where, image, previous)
    joined = []
    for image_id, sets in by_image.items():
        image = images[image_id]
        with problems.of(image["file_name"]):
            joined.append(
                _join(path, image, [*sets.values()], shapes.get(image_id, []))
            )
    return joined


def _by_id(path: Path, data: JsonObject, key: str) -> dict[Any, JsonObject]:
    by_id: dict[Any, JsonObject] = {}
    for value in objects_in(path, data, key):
        id = _id(value, "id")
        if id in by_id:
            raise ValueError(
                f"{path}, line {value.line}: the ids in {key!r} must differ from each "
                f"other. Received: id={id!r}, which is on line {by_id[id].line} already"
            )
        by_id[id] = value
    return by_id


def _id(value: JsonObject, key: str) -> Any:
    """Returns an id as it is, or as text if it cannot be the key of a dict."""
    id = value.get(key)
    return id if isinstance(id, str | int | float | None) else repr(id)


def _keypoint_names(categories: Mapping[Any, JsonObject]) -> dict[Any, list[str]]:
    """Returns the names of the keypoints of each category that has them.

    A category with one keypoint that is called as those of other categories, or with
    none, is called by its own name.
    """
    lists = {
        id: [str(name) for name in category["keypoints"]]
        for id, category in categories.items()
        if isinstance(category.get("keypoints"), list)
    }
    single = collections.Counter(n[0] for n in lists.values() if len(n) == 1)
    for id, names in lists.items():
        name = categories[id].get("name")
        if len(names) == 1 and single[names[0]] > 1 and isinstance(name, str):
            lists[id] = [name]
    return lists


def _points(
    where: str,
    annotation: JsonObject,
    category: JsonObject,
    names: list[str] | None,
    image: str,
    problems: PointProblems,
) -> PointSet:
    """Returns the points of one annotation."""
    kind = category.get("name")
    values = annotation.get("keypoints")
    if not names and isinstance(kind, str) and isinstance(values, list):
        names = [kind] if len(values) == 3 else [] if not values else names
    if names is None or not isinstance(values, list):
        raise ValueError(
            f"{where}: the category must name its keypoints. Received: "
            f"keypoints={category.get('keypoints')!r}"
        )
    if values and len(values) != 3 * len(names):
        raise ValueError(
            f"{where} must have x, y and visibility of {len(names)} keypoints. "
            f"Received: {len(values)} numbers."
        )
    points = np.full((len(names), 2), np.nan)
    visibilities = values[2::3]
    unused = []
    for row, name in enumerate(names[: len(visibilities)]):
        with problems.of(image):
            *position, visibility = values[3 * row : 3 * row + 3]
            if _is_labelled(f"{where}: the visibility of {name!r}", visibility):
                points[row] = _position(f"{where}: {name!r}", position, visibility)
            elif position not in ([0, 0], [None, None]):
                unused.append(name)
    _require_number(where, annotation, visibilities, unused)
    notes = []
    if unused:
        notes.append(
            f"{where}: {', '.join(unused)} have the visibility 0 and coordinates, "
            "which are not used: the landmarks are missing."
        )
    return PointSet(names, points, lines=[annotation.line] * len(names), notes=notes)


def _is_labelled(where: str, visibility: Any) -> bool:
    if visibility not in (0, 1, 2):
        raise ValueError(
            f"{where} must be 0 (not labelled), 1 (occluded) or 2 (visible). Received: "
            f"{visibility!r}"
        )
    return visibility != 0


def _position(where: str, values: list[Any], visibility: Any) -> np.ndarray:
    position = parse_position(values, where, 2, "xy")
    if np.isnan(position[0]):
        raise ValueError(
            f"{where} must have coordinates, or the visibility 0. Received: {values} "
            f"with visibility {visibility}"
        )
    return position


def _require_number(
    where: str, annotation: JsonObject, visibilities: list[Any], unused: list[str]
) -> None:
    """Validates that `num_keypoints` does not count missing keypoints."""
    labelled = sum(visibility != 0 for visibility in visibilities)
    # Some tools count the visible ones only, and some those at 0, 0 as well.
    counts = {labelled, sum(visibility == 2 for visibility in visibilities)}
    if not unused:
        counts.add(len(visibilities))
    number = annotation.get("num_keypoints")
    if number is not None and number not in counts:
        raise ValueError(
            f"{where}: `num_keypoints` must be the number of keypoints of visibility 1 "
            f"or 2, {labelled}. Correct the number or the visibilities. Received: "
            f"num_keypoints={number!r}"
        )


def _shape(annotation: JsonObject) -> str:
    """Returns the kind of an annotation without keypoints."""
    if annotation.get("segmentation"):
        return "segmentation"
    return "box" if annotation.get("bbox") else "annotation without keypoints"


def _is_empty(points: PointSet) -> bool:
    return bool(np.isnan(points.points).all())


def _join(
    path: Path,
    image: JsonObject,
    sets: list[PointSet],
    shapes: list[tuple[str, str]],
) -> PointSet:
    """Joins the points of the annotations of an image."""
    joined = PointSet((), np.empty((0, 2)))
    for other in sets:
        if shared := set(joined.labels) & set(other.labels):
            kept = [points for points in (joined, other) if not _is_empty(points)]
            if len(kept) == 2:
                where = f"{path}, line {other.lines[0]}"
                raise _several_objects(where, image, joined, sorted(shared))
            joined = kept[0] if kept else joined
            continue
        joined = PointSet(
            [*joined.labels, *other.labels],
            np.concatenate([joined.points, other.points]),
            lines=[*joined.lines, *other.lines],
            notes=[*joined.notes, *other.notes],
        )
    return dataclasses.replace(
        joined,
        image=image["file_name"],
        attributes=text_fields(image, _OF_COCO),
        image_size=image_size_in(path, image, "width", "height"),
        shapes=shapes,
    )


def _several_objects(
    where: str, image: JsonObject, first: PointSet, labels: list[str] | None = None
) -> ValueError:
    of_labels = f" called {', '.join(labels)}" if labels else ""
    return ValueError(
        f"{where}: an image can have the landmarks of one object only. Received: "
        f"{image['file_name']}, which has keypoints{of_labels} on line "
        f"{first.lines[0]} already"
    )
