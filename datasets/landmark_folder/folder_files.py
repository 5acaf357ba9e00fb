"""Matches the images and the points of a folder."""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scn_keras.datasets.case import reads_stored_pixels
from scn_keras.datasets.landmark_folder.folder_listing import (
    irregular_files,
    lone_images,
    named_images,
    unread_files,
)
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files import (
    ImageHeader,
    PointSet,
    read_image_header,
)
from scn_keras.files._named_file import is_text_name
from scn_keras.files._point_problems import PointProblem, PointProblems
from scn_keras.files._similar_names import similar_name
from scn_keras.files.caught_notes import caught_notes
from scn_keras.files.find_images import (
    composed,
    image_id,
    path_on_disk,
    stem_of,
    walk,
)
from scn_keras.files.read_points import (
    POINT_SUFFIXES,
    is_points_file,
    load_point_sets,
    read_rows,
)


@dataclasses.dataclass(frozen=True)
class FolderImage:
    """One image of a folder, and the points that belong to it.

    Args:
        id: Str, the file's name without its extension, or the name of its folder.
        header: `ImageHeader`.
        points: `PointSet` of the file of points; None if there are none.
        points_path: Path, the file of the points; None if there are none.
        attributes: Mapping of str to str, the columns of tables.
        notes: Tuple of str, warnings of the image file.
    """

    id: str
    header: ImageHeader
    points: PointSet | None
    points_path: Path | None
    attributes: Mapping[str, str]
    notes: tuple[str, ...]


def read_folder(
    folder: Path,
    settings: FolderSettings,
    problems: list[str],
    notes: list[str],
    stored_pixels: bool = False,
) -> list[FolderImage]:
    """Returns the images of a folder with their points, in the order of their ids.

    Args:
        folder: Path, the folder.
        settings: `FolderSettings`.
        problems: List of str, to which a sentence is appended for each problem. Files
            that cannot be read are left out.
        notes: List of str, to which a sentence is appended on files that are passed
            over.
    """
    root = path_on_disk(folder, settings.images)
    problems += irregular_files(folder)
    notes += unread_files(folder)
    paths = named_images(root, problems, notes)
    points = _read_points(folder, settings, paths, problems)
    attributes = _read_attributes(folder, settings, paths, problems)
    images = []
    for id, path in paths.items():
        sets_of_image = _without_empty_rows(_with_points(points.pop(id, [])))
        if len(sets_of_image) > 1:
            files = " and ".join(_source(p, s) for p, s in sets_of_image)
            problems.append(
                f"{path} has points more than once, and none of them is preferred. "
                "Delete the row or the file that is out of date, or set 'files.points' "
                f"in {FILE_NAME} to the file or folder to read. Received: {files}."
            )
        try:
            with caught_notes() as warned:
                header = read_image_header(
                    path, stored_pixels=stored_pixels or reads_stored_pixels()
                )
        except (ValueError, OSError) as error:
            problems.append(_sentence(path, error))
            continue
        points_path, point_set = sets_of_image[0] if sets_of_image else (None, None)
        if point_set is not None:
            point_set = point_set.from_above(header.shape[-2])
        columns = {k: v for _, s in sets_of_image for k, v in s.attributes.items()}
        columns |= attributes.get(id, {})
        images.append(
            FolderImage(id, header, point_set, points_path, columns, tuple(warned))
        )
    for name, sets in points.items():
        for path, point_set in sets:
            similar = similar_name(name, paths)
            problems.append(
                f"{_source(path, point_set)}: there is no image {name!r}.{similar}"
            )
    return _name_numbered(images, settings.names, problems)


def _name_numbered(
    images: list[FolderImage], names: Sequence[str], problems: list[str]
) -> list[FolderImage]:
    """Gives points of formats without labels the names of the settings, in order."""
    sets = [i.points for i in images if i.points is not None and i.points.numbered]
    if not sets:
        return images
    counts = collections.Counter(len(points.labels) for points in sets)
    expected = len(names) or max(counts, key=lambda count: (counts[count], count))
    reason = (
        f"one for each of the names in {FILE_NAME}" if names else "as most files have"
    )
    named = []
    for image in images:
        points = image.points
        if points is None or not points.numbered:
            named.append(image)
        elif len(points.labels) == expected:
            points = dataclasses.replace(points, labels=names or points.labels)
            named.append(dataclasses.replace(image, points=points))
        else:
            problems.append(
                f"{image.points_path}: points without labels are told apart by their "
                f"order, so that {image.id!r} must have {expected} points, {reason}. "
                f"Received: {len(points.labels)}."
            )
    return named


def _with_points(
    sets: list[tuple[Path, PointSet]],
) -> list[tuple[Path, PointSet]]:
    """Returns the sets of points without those of other shapes only, if both exist.

    3D Slicer saves lines and regions in files of their own, beside that of the points.
    """
    others = [points for _, points in sets if points.shapes and not points.labels]
    kept = [pair for pair in sets if all(pair[1] is not o for o in others)] or sets[:1]
    if others and kept:
        path, points = kept[0]
        shapes = [s for o in others if o is not points for s in o.shapes]
        points = dataclasses.replace(points, shapes=[*points.shapes, *shapes])
        kept[0] = path, points
    return kept


def _without_empty_rows(
    sets: list[tuple[Path, PointSet]],
) -> list[tuple[Path, PointSet]]:
    """Returns the only set with points, with the columns of rows without points.

    A row that has a patient and a split may have its points in a file of their own.
    """
    marked = [pair for pair in sets if not np.isnan(pair[1].points).all()]
    others = [points for _, points in sets if np.isnan(points.points).all()]
    if len(marked) != 1 or not all(p.image and p.labels for p in others):
        return sets
    path, points = marked[0]
    columns = {key: v for row in others for key, v in row.attributes.items()}
    attributes = {**columns, **points.attributes}
    return [(path, dataclasses.replace(points, attributes=attributes))]


def _source(path: Path, points: PointSet) -> str:
    return f"{path}, line {points.lines[0]}" if points.lines else str(path)


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}."
    return str(error)


def _read_points(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> dict[str, list[tuple[Path, PointSet]]]:
    """Returns the points by id; points without an image have the name of their file.

    Images of invalid rows are removed from `images`.
    """
    by_id: dict[str, list[tuple[Path, PointSet]]] = {}
    lone = lone_images(folder, images)
    for path, id in _points_files(folder, settings, images, problems):
        found = PointProblems()
        try:
            loaded = load_point_sets(path, settings.space, found)
            sets = [_composed(p) for p in loaded]
        except (ValueError, OSError, ImportError) as error:
            problems.append(_sentence(path, error))
            continue
        problems += found.sentences(path)
        broken = {_image_of_problem(p, images) for p in found.found if p.texts}
        # Problems that name no image are in a file of one image.
        is_broken = any(not p.texts for p in found.found)
        for name in broken & {*images}:
            del images[name]  # it is named, and has not all of its points
        if not sets and not found.found:
            problems.append(f"{path} has no points.")
        for points in sets:
            if _id_in_table(points.image, images) in broken - {""}:
                continue
            if is_broken:
                images.pop(id or _image_of(path, points, images, lone), None)
                continue
            name = id or _image_of(path, points, images, lone)
            stated = _id_in_table(points.image, images) if points.image else name
            if stated != name and stated in images:
                problems.append(
                    f"{_source(path, points)}: the file has the name of the image "
                    f"{name!r}, but states the points of {points.image!r}, which is "
                    "another image. Correct one of them."
                )
                continue
            by_id.setdefault(name, []).append((path, points))
    return by_id


def _points_files(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> list[tuple[Path, str]]:
    """Returns the files of points, each with its id if the settings have a pattern."""
    if "{id}" in settings.points:
        files = [
            (path_on_disk(folder, settings.points.replace("{id}", id)), id)
            for id in images
        ]
        return [(path, id) for path, id in files if path.is_file()]
    root = path_on_disk(folder, settings.points)
    table = path_on_disk(folder, settings.table)
    if root.is_file():
        return [(root, "")]
    if not root.is_dir():
        problems.append(f"{folder / FILE_NAME}: 'files.points' does not exist: {root}.")
    return [
        (path, "")
        for path in sorted(path for _, paths in walk(root) for path in paths)
        if path.is_file() and is_text_name(path) and is_points_file(path)
        if path != table
    ]


def _read_attributes(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> dict[str, dict[str, str]]:
    """Returns the columns of `files.table` by id; the first one names the image."""
    if not settings.table:
        return {}
    path = path_on_disk(folder, settings.table)
    if not path.is_file():
        problems.append(f"{folder / FILE_NAME}: 'files.table' does not exist: {path}.")
        return {}
    columns: dict[str, dict[str, str]] = {}
    try:
        table = read_rows(path)
        found = PointProblems()
        rows = table.body(found)
    except (ValueError, OSError, ImportError) as error:
        problems.append(_sentence(path, error))
        return {}
    problems += found.sentences(path)
    for line, row in rows:
        name = composed(row[0])
        id = _id_in_table(name, images)
        where = f"{path}, line {line}"
        if id not in images:
            similar = similar_name(id, images)
            problems.append(f"{where}: there is no image {name!r}.{similar}")
        elif id in columns:
            problems.append(f"{where}: the image {name!r} has a row already.")
        else:
            columns[id] = {
                composed(key): composed(value)
                for key, value in zip(table.header[1:], row[1:], strict=True)
                if key
            }
    return columns


def _composed(points: PointSet) -> PointSet:
    """Returns points with names in the composed form of Unicode."""
    return dataclasses.replace(
        points,
        labels=[composed(label) for label in points.labels],
        image=composed(points.image),
        attributes={composed(k): composed(v) for k, v in points.attributes.items()},
    )


def _image_of(
    path: Path,
    points: PointSet,
    images: Mapping[str, Path],
    lone: Mapping[Path, str],
) -> str:
    """Returns the id of the image of a set of points.

    It is that in the set of points or in the name of its file, or the only image in the
    folder of the file.
    """
    if points.image in images:  # an id with a dot in it
        return points.image
    name_of_file = composed(stem_of(path.name, POINT_SUFFIXES))
    # The path in a labelme file may be that of another computer.
    if name_of_file in images:
        return name_of_file
    name = stem_of(points.image)
    id = next((lone[parent] for parent in path.parents if parent in lone), None)
    if id is not None and name in ("", composed(image_id(images[id]))):
        return id
    return _id_in_table(points.image, images) if name else name_of_file


def _image_of_problem(problem: PointProblem, images: Mapping[str, Path]) -> str:
    """Returns the id of the first image that is named; `""` if none is."""
    ids = (_id_in_table(composed(text), images) for text in problem.texts)
    return next((id for id in ids if id in images), "")


def _id_in_table(name: str, images: Mapping[str, Path]) -> str:
    """Returns the id for the name of an image, which may have folders."""
    stem = stem_of(name)
    if name in images or stem in images:
        return name if name in images else stem
    # Images that are called by their folders: case1/CT.nrrd
    end = "/" + name.replace("\\", "/").removeprefix("./")
    ids = [id for id, p in images.items() if composed(p.as_posix()).endswith(end)]
    # As annotation servers call uploaded files: 1a2b-film.png
    if not ids and (upload := re.fullmatch(r"[0-9a-f]{3,32}[-_](.+)", stem)):
        return upload[1] if upload[1] in images else stem
    return ids[0] if len(ids) == 1 and end.count("/") > 1 else stem
