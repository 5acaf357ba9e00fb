"""Matches the images and the points of a folder."""

import csv
import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path

from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files import (
    ImageHeader,
    PointSet,
    read_image_header,
    read_point_sets,
)
from scn_keras.files.find_images import find_images, image_id, stem_of

_POINTS_SUFFIXES = (".mrk.json", ".fcsv", ".csv", ".tsv", ".json")


@dataclasses.dataclass(frozen=True)
class FolderImage:
    """One image of a folder, and the points that belong to it.

    Args:
        id: Str, the file's name without its extension.
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
    folder: Path, settings: FolderSettings, problems: list[str]
) -> list[FolderImage]:
    """Returns the images of a folder with their points, in the order of their ids.

    Args:
        folder: Path, the folder.
        settings: `FolderSettings`.
        problems: List of str, to which a sentence is appended for each problem. Files
            that cannot be read are left out.
    """
    paths = _find_images(folder / settings.images, problems)
    points = _read_points(folder, settings, paths, problems)
    attributes = _read_attributes(folder, settings, paths, problems)
    images = []
    for id, path in paths.items():
        sets_of_image = points.pop(id, [])
        if len(sets_of_image) > 1:
            files = " and ".join(_source(p, s) for p, s in sets_of_image)
            problems.append(f"{path} has points more than once: {files}.")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                header = read_image_header(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        notes = tuple(str(warning.message) for warning in caught)
        points_path, point_set = sets_of_image[0] if sets_of_image else (None, None)
        columns = {
            **(point_set.attributes if point_set else {}),
            **attributes.get(id, {}),
        }
        images.append(FolderImage(id, header, point_set, points_path, columns, notes))
    for name, sets in points.items():
        for path, point_set in sets:
            problems.append(f"{_source(path, point_set)}: there is no image {name!r}.")
    return images


def _source(path: Path, points: PointSet) -> str:
    return f"{path}, line {points.lines[0]}" if points.lines else str(path)


def _find_images(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Returns the image file, or the folder of a DICOM series, of each id."""
    paths: dict[str, Path] = {}
    for path in find_images(folder, may_be_series=False):
        id = image_id(path)
        if id in paths:
            problems.append(
                f"{paths[id]} and {path} have the same id, {id!r}: images must have "
                "different names without their folders and extensions."
            )
        paths.setdefault(id, path)
    if not paths:
        problems.append(f"There are no images in {folder}.")
    return dict(sorted(paths.items()))


def _read_points(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> dict[str, list[tuple[Path, PointSet]]]:
    """Returns the points by id; points without an image have the name of their file."""
    by_id: dict[str, list[tuple[Path, PointSet]]] = {}
    for path, id in _points_files(folder, settings, images, problems):
        try:
            sets = read_point_sets(path, settings.space)
        except ValueError as error:
            problems.append(str(error))
            continue
        if not sets:
            problems.append(f"{path} has no points.")
        for points in sets:
            by_id.setdefault(id or _image_of(path, points, images), []).append(
                (path, points)
            )
    return by_id


def _points_files(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> list[tuple[Path, str]]:
    """Returns the files of points, each with its id if the settings have a pattern."""
    if "{id}" in settings.points:
        files = [(folder / settings.points.replace("{id}", id), id) for id in images]
        return [(path, id) for path, id in files if path.is_file()]
    root = folder / settings.points
    if root.is_file():
        return [(root, "")]
    if not root.is_dir():
        problems.append(f"{folder / FILE_NAME}: 'files.points' does not exist: {root}.")
    return [
        (path, "")
        for path in sorted(root.rglob("*"))
        if path.name.lower().endswith(_POINTS_SUFFIXES)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path != folder / settings.table
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
    path = folder / settings.table
    if not path.is_file():
        problems.append(f"{folder / FILE_NAME}: 'files.table' does not exist: {path}.")
        return {}
    columns: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        first = (reader.fieldnames or [""])[0]
        for row in reader:
            name = row[first].strip()
            id = name if name in images else stem_of(name)
            where = f"{path}, line {reader.line_num}"
            if id not in images:
                problems.append(f"{where}: there is no image {name!r}.")
            elif id in columns:
                problems.append(f"{where}: the image {name!r} has a row already.")
            else:
                columns[id] = {k: v.strip() for k, v in row.items() if k and k != first}
    return columns


def _image_of(path: Path, points: PointSet, images: dict[str, Path]) -> str:
    """Returns the id of the image in a set of points, or in the name of its file."""
    if points.image in images:  # an id with a dot in it
        return points.image
    name_of_file = stem_of(path.name, _POINTS_SUFFIXES)
    # The path in a labelme file may be that of another computer.
    if name_of_file in images or not points.image:
        return name_of_file
    return stem_of(points.image)
