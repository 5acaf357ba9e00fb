"""The folds of a folder: dealt to patients at random once, and kept."""

import collections

import numpy as np

from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.recorded_parts import recorded_parts
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
)


def assign_folds(
    settings: FolderSettings,
    images: ImageTable,
    deal: Deal | None,
    problems: list[str],
    notes: list[str],
) -> dict[str, str]:
    """Returns the fold of each image by id.

    Patients stay in the folds of a deal. New ones are assigned in random order to the
    fold with the fewest patients.

    Args:
        settings: `FolderSettings` with folds.
        images: `ImageTable` of the folder; digests are only needed with a deal.
        deal: `Deal`, if there were folds before.
        problems: List of str, to which a sentence is appended for each problem.
        notes: List of str, to which a sentence is appended for each merged patient.
    """
    folds = settings.folds
    names = sorted({*images.groups})
    if len(names) < folds:
        problems.append(
            f"{FILE_NAME}: 'splits.folds' must be at most the number of patients, "
            f"{len(names)}. Received: {folds}."
        )
    parts, merged = recorded_parts(deal or Deal("folds", {}), images)
    notes += merged
    recorded = dict(zip(images.groups, parts, strict=True))
    fold_of = {name: part for name, part in recorded.items() if part is not None}
    sizes = collections.Counter({fold: 0 for fold in range(1, folds + 1)})
    sizes.update(fold_of.values())
    new = [name for name in names if name not in fold_of]
    for index in np.random.default_rng(settings.seed).permutation(len(new)):
        fold = min(sizes, key=lambda f: (sizes[f], f))
        sizes[fold] += 1
        fold_of[new[index]] = fold
    empty = [f"fold{fold}" for fold, size in sorted(sizes.items()) if not size]
    if empty and len(names) >= folds:
        problems.append(
            f"{', '.join(empty)} has no patient left: its images were removed. Choose "
            f"another 'splits.seed' in {FILE_NAME}, by which all folds are dealt anew. "
            f"Received: {len(names)} patients in the other folds."
        )
    pairs = zip(images.ids, images.groups, strict=True)
    return {id: f"fold{fold_of[group]}" for id, group in pairs}
