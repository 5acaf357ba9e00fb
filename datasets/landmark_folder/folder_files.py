"""Finds images and points in a folder, and which belong together."""

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
        id: str, the file's name without its endings.
        header: ImageHeader.
        points: PointSet, as the file has them; None if there are none.
        points_path: Path, the file of the points; None if there are none.
        attributes: Mapping of str to str, what tables say of the image.
        notes: Tuple of str, what a person should know of the image.
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
        settings: FolderSettings, where to look.
        problems: List of str, to which what is wrong is added, a sentence each; what
            cannot be read is left out.
    """
    paths = _find_images(folder / settings.images, problems)
    points = _read_points(folder, settings, paths, problems)
    attributes = _read_attributes(folder, settings, paths, problems)
    found = []
    for id, path in paths.items():
        own = points.pop(id, [])
        if len(own) > 1:
            files = " and ".join(_place(p, s) for p, s in own)
            problems.append(f"{path} has points twice: {files}.")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                header = read_image_header(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        notes = tuple(str(warning.message) for warning in caught)
        (points_path, point_set) = own[0] if own else (None, None)
        said = {**(point_set.attributes if point_set else {}), **attributes.get(id, {})}
        found.append(FolderImage(id, header, point_set, points_path, said, notes))
    for name, sets in points.items():
        for path, point_set in sets:
            problems.append(f"{_place(path, point_set)}: there is no image {name!r}.")
    return found


def _place(path: Path, points: PointSet) -> str:
    return f"{path}, line {points.lines[0]}" if points.lines else str(path)


def _find_images(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Returns the image file, or the folder of a DICOM series, of each id."""
    found: dict[str, Path] = {}
    for path in find_images(folder, may_be_series=False):
        id = image_id(path)
        if id in found:
            problems.append(
                f"{found[id]} and {path} have the same id, {id!r}: the names of "
                "images must differ in more than folder and ending."
            )
        found.setdefault(id, path)
    if not found:
        problems.append(f"There are no images in {folder}.")
    return dict(sorted(found.items()))


def _read_points(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> dict[str, list[tuple[Path, PointSet]]]:
    """Returns the points of each id, and under other names those without an image."""
    found: dict[str, list[tuple[Path, PointSet]]] = {}
    for path, id in _points_files(folder, settings, images, problems):
        try:
            sets = read_point_sets(path, settings.space)
        except ValueError as error:
            problems.append(str(error))
            continue
        if not sets:
            problems.append(f"{path} holds no points.")
        for points in sets:
            found.setdefault(id or _image_of(path, points, images), []).append(
                (path, points)
            )
    return found


def _points_files(
    folder: Path,
    settings: FolderSettings,
    images: dict[str, Path],
    problems: list[str],
) -> list[tuple[Path, str]]:
    """Returns the files of points, each with the id that its name was made from."""
    if "{id}" in settings.points:
        files = [(folder / settings.points.replace("{id}", id), id) for id in images]
        return [(path, id) for path, id in files if path.is_file()]
    root = folder / settings.points
    if root.is_file():
        return [(root, "")]
    if not root.is_dir():
        problems.append(f"{folder / FILE_NAME}: 'files.points' is not there: {root}.")
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
    """Returns what `files.table` says of each id; its first column names the image."""
    if not settings.table:
        return {}
    path = folder / settings.table
    if not path.is_file():
        problems.append(f"{folder / FILE_NAME}: 'files.table' is not there: {path}.")
        return {}
    found: dict[str, dict[str, str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        first = (reader.fieldnames or [""])[0]
        for row in reader:
            name = row[first].strip()
            id = name if name in images else stem_of(name)
            where = f"{path}, line {reader.line_num}"
            if id not in images:
                problems.append(f"{where}: there is no image {name!r}.")
            elif id in found:
                problems.append(f"{where}: the image {name!r} is there already.")
            else:
                found[id] = {k: v.strip() for k, v in row.items() if k and k != first}
    return found


def _image_of(path: Path, points: PointSet, images: dict[str, Path]) -> str:
    """Returns the id of the image that a set of points names, else of its file."""
    if points.image in images:  # an id with a dot in it
        return points.image
    own = stem_of(path.name, _POINTS_SUFFIXES)
    # The path in a labelme file may be that of another computer.
    if own in images or not points.image:
        return own
    return stem_of(points.image)
