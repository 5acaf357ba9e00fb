"""The landmarks of a folder, from its settings or its files."""

import collections
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.datasets.landmark_folder.folder_files import FolderImage
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files import PointSet
from scn_keras.landmark_schema import LandmarkSchema


def labelled(images: Sequence[FolderImage]) -> list[tuple[FolderImage, PointSet]]:
    """Returns the images that have points, with these points."""
    return [(image, image.points) for image in images if image.points is not None]


def dimensions_of(images: Sequence[FolderImage]) -> int:
    """Returns the number of axes of most of the images."""
    counts = collections.Counter(len(image.header.shape) for image in images)
    return max(counts, key=lambda rank: (counts[rank], rank), default=2)


def common_dtype(types: set[str]) -> str:
    """Returns the smallest dtype that holds the values of all given ones.

    Args:
        types: Set of `uint8`, `uint16`, `int16` and `float32`.
    """
    if {"int16", "uint16"} <= types or "float32" in types:
        return "float32"
    return max(types, key=["uint8", "uint16", "int16"].index)


def names_of(
    settings: FolderSettings, images: Sequence[FolderImage]
) -> tuple[str, ...]:
    """Returns the names of the landmarks.

    These are the names of the settings. Without them they are the labels of at least
    half of the files, since a rare label is rather a mistake than a landmark.

    Args:
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.
    """
    if settings.names:
        return settings.names
    sets = [dict.fromkeys(points.labels) for _, points in labelled(images)]
    counts = collections.Counter(label for labels in sets for label in labels)
    return tuple(label for label, count in counts.items() if 2 * count >= len(sets))


def schema_of(
    folder: Path, settings: FolderSettings, images: Sequence[FolderImage]
) -> LandmarkSchema:
    """Returns the schema of a folder.

    Args:
        folder: Path, the folder, for messages.
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.

    Raises:
        ValueError: If the settings mention unknown landmarks.
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
                f"{folder / FILE_NAME}: {key!r} has unknown landmarks: "
                f"{', '.join(unknown)}."
            )
    if settings.colors and len(settings.colors) != len(names):
        missing = abbreviate(name for name in names if name not in settings.colors)
        raise ValueError(f"{folder / FILE_NAME}: 'colors' has no color for {missing}.")
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
    """Lists duplicate and unknown labels.

    Args:
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.
    """
    names = names_of(settings, images)
    sets = labelled(images)
    problems = []
    for image, points in sets:
        lines: dict[str, list[int]] = {}
        for label, line in zip(points.labels, points.lines, strict=True):
            lines.setdefault(label, []).append(line)
        for label, numbers in lines.items():
            where = f"{image.points_path}, line {numbers[0]}"
            if len(numbers) > 1:
                problems.append(
                    f"{image.points_path}, lines {abbreviate(numbers)}: the label "
                    f"{label!r} occurs {len(numbers)} times for {image.id!r}."
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
                    f"{label!r}. If it is correct, list all names in {FILE_NAME}."
                )
    return problems


def shape_problems(
    settings: FolderSettings, images: Sequence[FolderImage]
) -> list[str]:
    """Lists landmarks that are marked by another shape than a point."""
    names = names_of(settings, images)
    return [
        f"{image.points_path}: the landmark {label!r} of {image.id!r} must be a point. "
        f"Mark it as a point, or give the shape another label. Received: {kind}."
        for image, points in labelled(images)
        for label, kind in dict.fromkeys(points.shapes)
        if label in names
    ]


def shape_notes(settings: FolderSettings, images: Sequence[FolderImage]) -> list[str]:
    """Returns a note on shapes that are neither points nor landmarks."""
    names = names_of(settings, images)
    counts = collections.Counter(
        f"{label!r} ({kind})"
        for _, points in labelled(images)
        for label, kind in dict.fromkeys(points.shapes)
        if label not in names
    )
    if not counts:
        return []
    shapes = abbreviate(f"{shape} of {n} images" for shape, n in counts.items())
    return [
        f"Shapes that are no points are not read: {shapes}. A landmark must be a point."
    ]


def empty_landmarks(names: Sequence[str], images: Sequence[FolderImage]) -> list[str]:
    """Lists landmarks that no image has a point of: one sentence each kind.

    Args:
        names: Sequence of str, the landmarks.
        images: Sequence of `FolderImage`.
    """
    sets = labelled(images)
    used = {label for _, points in sets for label in points.labels}
    present = {
        label
        for _, points in sets
        for label, row in zip(points.labels, points.points, strict=True)
        if not np.isnan(row[0])
    }
    problems = []
    if sets and (absent := [n for n in names if n not in used]):
        problems.append(f"{FILE_NAME}: no file has the labels {', '.join(absent)}.")
    if sets and not present:
        problems.append(
            f"The files of points have no point: all landmarks of {len(sets)} images "
            "are missing. Mark them, or choose other files of points."
        )
    elif empty := [n for n in names if n in used and n not in present]:
        problems.append(
            f"No image has a point of {', '.join(map(repr, empty))}: the landmark is "
            f"missing in all {len(sets)} images that have points. Mark it, or remove "
            f"its label from the files and from the names in {FILE_NAME}."
        )
    return problems


def abbreviate(values: Iterable[Any]) -> str:
    """Returns the first five of some values and the number of the others as text."""
    texts = [str(value) for value in values]
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return ", ".join(texts[:5]) + more
