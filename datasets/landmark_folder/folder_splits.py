"""The patient and the split of each image of a folder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from scn_keras.datasets.landmark_folder.folder_files import FolderImage
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files._name_pattern import search_names
from scn_keras.files.find_images import composed, path_on_disk, stem_of
from scn_keras.files.text_values import read_text


def patients(
    settings: FolderSettings, images: Sequence[FolderImage], problems: list[str]
) -> dict[str, str]:
    """Returns the patient of each image by id.

    The patient is found by the pattern or the column of the settings, or by a column
    named `patient`. Without any of these each image is a patient of its own.

    Args:
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.
        problems: List of str, to which a sentence is appended for each problem.
    """
    if settings.patient_pattern:
        return _by_pattern(settings.patient_pattern, images, problems)
    if column := settings.patient_column or _if_present("patient", images):
        return _column(column, images, problems)
    return {image.id: image.id for image in images}


def _by_pattern(
    pattern: str, images: Sequence[FolderImage], problems: list[str]
) -> dict[str, str]:
    try:
        found = search_names(Path(FILE_NAME), pattern, [image.id for image in images])
    except ValueError:
        problems.append(
            f"{FILE_NAME}: 'patient.pattern' takes too long for the names of the "
            "images. Simplify repetitions within repetitions, such as (a+)+. "
            f"Received: {pattern[:100]!r}."
        )
        return {}
    by_id = {}
    for image, patient in zip(images, found, strict=True):
        if patient:
            by_id[image.id] = patient
        else:
            problems.append(
                f"{image.header.path}: 'patient.pattern' does not match {image.id!r}. "
                f"Received: {pattern!r}."
            )
    return by_id


def splits(
    folder: Path,
    settings: FolderSettings,
    images: Sequence[FolderImage],
    problems: list[str],
) -> dict[str, str]:
    """Returns the split of each image by id.

    The split is found by the lists or the column of the settings, or by a column named
    `split`; for folds see `assign_folds`. Images in no list are left out. Without any
    of these all images are in `train`.

    Args:
        folder: Path, the folder.
        settings: `FolderSettings`.
        images: Sequence of `FolderImage`.
        problems: List of str, to which a sentence is appended for each problem.
    """
    if settings.splits:
        return _lists(folder, settings.splits, images, problems)
    if column := settings.split_column or _if_present("split", images):
        by_id = _column(column, images, problems)
        for id, split in by_id.items():
            if not re.fullmatch(r"\w+", split):
                problems.append(
                    f"The split of {id!r} must consist of letters, digits and _. "
                    f"Received: {split!r}."
                )
        return by_id
    return {image.id: "train" for image in images}


def _if_present(column: str, images: Sequence[FolderImage]) -> str:
    return column if any(column in image.attributes for image in images) else ""


def _column(
    column: str, images: Sequence[FolderImage], problems: list[str]
) -> dict[str, str]:
    by_id = {}
    for image in images:
        if value := image.attributes.get(column, ""):
            by_id[image.id] = value
        else:
            problems.append(
                f"{image.header.path}: no table has a value in the column {column!r} "
                "for it."
            )
    return by_id


def _lists(
    folder: Path,
    lists: Mapping[str, tuple[str, ...] | str],
    images: Sequence[FolderImage],
    problems: list[str],
) -> dict[str, str]:
    known = {image.id for image in images}
    split_of: dict[str, str] = {}
    for split, entries in lists.items():
        name_of_file = FILE_NAME if isinstance(entries, tuple) else entries
        path = path_on_disk(folder, name_of_file)
        if isinstance(entries, str):
            if not path.is_file():
                problems.append(
                    f"{folder / FILE_NAME}: 'splits.{split}' does not exist: {path}."
                )
                continue
            entries = tuple(composed(read_text(path, legacy=True)).splitlines())
        for line, entry in enumerate(entries, 1):
            if not (name := entry.strip()):
                continue
            id = name if name in known else stem_of(name)
            where = f"{path}, entry {line} of {split!r}"
            if id not in known:
                problems.append(f"{where}: there is no image {name!r}.")
            elif id in split_of:
                problems.append(f"{where}: {name!r} is in {split_of[id]!r} already.")
            split_of.setdefault(id, split)
    return split_of
