"""To which patient and to which split each image of a folder belongs."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scn_keras.datasets.landmark_folder.folder_files import FolderImage
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)
from scn_keras.files.find_images import stem_of


def patients(
    settings: FolderSettings, images: Sequence[FolderImage], problems: list[str]
) -> dict[str, str]:
    """Returns the patient of each image: by column or pattern, else the image itself.

    A column named `patient` counts without being asked for.
    """
    if settings.patient_pattern:
        found = {}
        for image in images:
            match = re.search(settings.patient_pattern, image.id)
            if match is None or not match[min(match.re.groups, 1)]:
                problems.append(
                    f"{image.header.path}: the pattern {settings.patient_pattern!r} "
                    f"finds no patient in {image.id!r}."
                )
            else:
                found[image.id] = match[min(match.re.groups, 1)]
        return found
    if column := settings.patient_column or _if_present("patient", images):
        return _column(column, images, problems)
    return {image.id: image.id for image in images}


def splits(
    folder: Path,
    settings: FolderSettings,
    images: Sequence[FolderImage],
    patients: Mapping[str, str],
    problems: list[str],
) -> dict[str, str]:
    """Returns the split of each image; those that no list names are left out.

    A column named `split` counts without being asked for. With no rule at all, every
    image is in `train`.
    """
    if settings.folds:
        dealt = _deal([*patients.values()], settings.folds, settings.seed, problems)
        return {id: dealt[patient] for id, patient in patients.items()}
    if settings.splits:
        return _lists(folder, settings.splits, images, problems)
    if column := settings.split_column or _if_present("split", images):
        found = _column(column, images, problems)
        for id, split in found.items():
            if not re.fullmatch(r"\w+", split):
                problems.append(
                    f"The split of {id!r}, {split!r}, must consist of letters, digits "
                    "and _."
                )
        return found
    return {image.id: "train" for image in images}


def _if_present(column: str, images: Sequence[FolderImage]) -> str:
    return column if any(column in image.attributes for image in images) else ""


def _column(
    column: str, images: Sequence[FolderImage], problems: list[str]
) -> dict[str, str]:
    found = {}
    for image in images:
        if value := image.attributes.get(column, ""):
            found[image.id] = value
        else:
            problems.append(
                f"{image.header.path}: no table says in a column {column!r} what holds "
                "for it."
            )
    return found


def _deal(
    patients: Sequence[str], folds: int, seed: int, problems: list[str]
) -> dict[str, str]:
    """Deals patients, in an order that the seed gives, to the fold of least images."""
    names = sorted(set(patients))
    if len(names) < folds:
        problems.append(
            f"{FILE_NAME}: {folds} folds need as many patients. There are {len(names)}."
        )
    sizes = [0] * folds
    dealt = {}
    for index in np.random.default_rng(seed).permutation(len(names)):
        fold = sizes.index(min(sizes))
        sizes[fold] += patients.count(names[index])
        dealt[names[index]] = f"fold{fold + 1}"
    return dealt


def _lists(
    folder: Path,
    lists: Mapping[str, tuple[str, ...] | str],
    images: Sequence[FolderImage],
    problems: list[str],
) -> dict[str, str]:
    known = {image.id for image in images}
    found: dict[str, str] = {}
    for split, entries in lists.items():
        path = folder / (FILE_NAME if isinstance(entries, tuple) else entries)
        if isinstance(entries, str):
            if not path.is_file():
                problems.append(f"{folder / FILE_NAME}: there is no list {path}.")
                continue
            entries = tuple(path.read_text("utf-8-sig").splitlines())
        for line, entry in enumerate(entries, 1):
            if not (name := entry.strip()):
                continue
            id = name if name in known else stem_of(name)
            where = f"{path}, entry {line} of {split!r}"
            if id not in known:
                problems.append(f"{where}: there is no image {name!r}.")
            elif id in found:
                problems.append(f"{where}: {name!r} is in {found[id]!r} already.")
            found.setdefault(id, split)
    return found
