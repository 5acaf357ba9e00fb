"""Which landmarks a folder has, and whether its files agree."""

import collections
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scn_keras.datasets.landmark_folder.folder_files import FolderImage
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files import PointSet
from scn_keras.landmark_schema import LandmarkSchema


def labelled(images: Sequence[FolderImage]) -> list[tuple[FolderImage, PointSet]]:
    """Returns the images that have points, with them."""
    return [(image, image.points) for image in images if image.points is not None]


def dimensions_of(images: Sequence[FolderImage]) -> int:
    """Returns how many axes most of the images have."""
    counts = collections.Counter(len(image.header.shape) for image in images)
    return max(counts, key=lambda rank: (counts[rank], rank), default=2)


def common_dtype(types: set[str]) -> str:
    """Returns the smallest of the four types that holds the values of all."""
    if {"int16", "uint16"} <= types or "float32" in types:
        return "float32"
    return max(types, key=["uint8", "uint16", "int16"].index)


def names_of(
    settings: FolderSettings, images: Sequence[FolderImage]
) -> tuple[str, ...]:
    """Returns the names of the settings, else the labels of half of the files or more.

    A label that few files have is a slip more often than a landmark.
    """
    if settings.names:
        return settings.names
    sets = [dict.fromkeys(points.labels) for _, points in labelled(images)]
    counts = collections.Counter(label for labels in sets for label in labels)
    return tuple(label for label, count in counts.items() if 2 * count >= len(sets))


def schema_of(
    folder: Path, settings: FolderSettings, images: Sequence[FolderImage]
) -> LandmarkSchema:
    """Builds the schema of a folder.

    Raises:
        ValueError: If its settings do not fit its landmarks.
    """
    names = names_of(settings, images)
    rows = {name: row for row, name in enumerate(names)}
    mentioned = {
        "pairs": [name for pair in settings.pairs for name in pair],
        "links": [name for link in settings.links for name in link],
        "colors": [*settings.colors],
    }
    for key, used in mentioned.items():
        if unknown := sorted(set(used) - set(names)):
            raise ValueError(
                f"{folder / FILE_NAME}: {key!r} mentions landmarks that there are not: "
                f"{', '.join(unknown)}."
            )
    if settings.colors and len(settings.colors) != len(names):
        bare = some(name for name in names if name not in settings.colors)
        raise ValueError(f"{folder / FILE_NAME}: 'colors' leaves out {bare}.")
    try:
        return LandmarkSchema(
            names,
            links=tuple((rows[a], rows[b]) for a, b in settings.links),
            pairs=tuple((rows[a], rows[b]) for a, b in settings.pairs),
            colors=tuple(settings.colors[n] for n in names) if settings.colors else (),
        )
    except ValueError as error:
        raise ValueError(f"{folder / FILE_NAME}: {error}") from error


def label_problems(
    settings: FolderSettings, images: Sequence[FolderImage]
) -> list[str]:
    """Lists doubled labels, and those that are no landmark of the data set."""
    names = names_of(settings, images)
    sets = labelled(images)
    problems = []
    seen: collections.Counter[str] = collections.Counter()
    for image, points in sets:
        lines: dict[str, list[int]] = {}
        for label, line in zip(points.labels, points.lines, strict=True):
            lines.setdefault(label, []).append(line)
        seen.update(lines.keys())
        for label, places in lines.items():
            where = f"{image.points_path}, line {places[0]}"
            if len(places) > 1:
                problems.append(
                    f"{image.points_path}, lines {some(places)}: the label {label!r} "
                    f"is there {len(places)} times for {image.id!r}."
                )
            if label in names:
                continue
            if settings.names:
                problems.append(
                    f"{where}: the label {label!r} is not among the names of "
                    f"{FILE_NAME}."
                )
            else:
                problems.append(
                    f"{where}: most of the {len(sets)} images have no label "
                    f"{label!r}. If it is right, list all names in {FILE_NAME}."
                )
    if sets and (absent := [name for name in names if not seen[name]]):
        problems.append(f"{FILE_NAME}: no file has the labels {', '.join(absent)}.")
    return problems


def some(values: Iterable[Any]) -> str:
    """Returns the first of some values, and how many more there are."""
    first = [str(value) for value in values]
    more = f" and {len(first) - 5} more" if len(first) > 5 else ""
    return ", ".join(first[:5]) + more
