"""Left-hand radiographs of the Digital Hand Atlas, 37 landmarks."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.datasets.case import Case
from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.datasets.hand_schema import HAND_SCHEMA
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.landmark_table import (
    read_id_list,
    read_landmark_table,
    subsets_of_lists,
)
from scn_keras.geometry import affine_from_spacing

_IMAGE_NAME = re.compile(r"(\d+)\.(jpe?g|png|mha)", re.IGNORECASE)

# The atlas has no calibrated spacing. By convention these two, the tips of the ulnar
# and of the radial styloid, are as far apart as a wrist is wide.
_WRIST = (1, 5)
_WRIST_WIDTH = 50.0  # mm

# A point at the border of a film may lie a little beyond it; far beyond, the film is
# not the one, or not of the size, in which the points were set.
_MARGIN = 10.0  # pixels


class Builder(LandmarkBuilder):
    """TFDS builder of the Digital Hand Atlas with the protocol of Payer et al. (2019).

    Splits are the published test folds `fold1`, `fold2` and `fold3`: what is tested on
    `fold1` is trained on `fold2+fold3`. Whatever images are there are prepared; a note
    says how many of each fold. The published reduced training lists, as far as all of
    their images are there, are subsets: `fold1_train_10_2` is the second draw of 10
    images to train on and test on `fold1`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
The folder must hold the images of the Digital Hand Atlas at their full resolution,
named ID.jpg, ID.png or ID.mha, anywhere in it, all of them or some; and the setup that
Payer et al. published, in one folder anywhere in it:
  all.csv                                    the landmarks, 910 images
  cv/set1 ... set3/test.txt                  the three folds, 895 images
  cv_rand/10, 50, 100/1, 2/set1 ... set3/train.txt
                                             the reduced training lists (optional)
"""

    SCHEMA = HAND_SCHEMA
    LICENSE = (
        "The atlas's images come without a licence: for research only. The Apache "
        "licence of scn-keras does not cover this model."
    )
    LIMITS = (
        "Radiographs of one whole left hand each, of children. Millimetres rest on a "
        "convention, a wrist of 50 mm in the true points."
    )
    SPACING_RULE = (
        "wrist width of 50 mm between landmarks 2 and 6 of the ground truth, a "
        "convention; it scales errors and must never set the network's grid"
    )
    SPACING_FROM_POINTS = True

    # Of the 910 images with landmarks these are in no published fold, and so in no
    # published result; the publication does not say why.
    UNUSED = frozenset(
        {
            *("3149", "3292", "3303", "4382", "4391", "4392", "4498", "4499"),
            *("5148", "5748", "5917", "7068", "7069", "7070", "7200"),
        }
    )
    FOLD_SIZES = (298, 298, 299)

    def describe(self, folder: Path) -> None:
        """Adds the reduced training lists of which all images are there."""
        self.SUBSETS = self._reduced(folder)[0]

    def cases(self, folder: Path, problems: list[str] | None = None) -> list[Case]:
        """Lists the images of the three folds that are there, in the folds' order."""
        found: list[str] = []
        cases = list(self._find_cases(folder, found))
        found = [problem.replace(f"{folder}/", "") for problem in found]
        if problems is not None:
            problems += found
        elif found:
            hint = self.MANUAL_DOWNLOAD_INSTRUCTIONS
            raise DatasetFolderError(self.name, folder, found, hint)
        return cases

    def folder_notes(self, folder: Path) -> list[str]:
        """Counts the images of each fold, and names what is left out."""
        notes = []
        images = _images(folder)
        folds = self._folds(_setup(folder, []), [])
        for split, ids in folds.items():
            here = sum(id in images for id in ids)
            if not here:
                notes.append(
                    f"The split {split!r} is left out: none of its {len(ids)} images "
                    "are there."
                )
            elif here < len(ids):
                notes.append(
                    f"The split {split!r} is not complete: {here} of its {len(ids)} "
                    "images are there."
                )
        used = {id for ids in folds.values() for id in ids}
        if others := len(images.keys() - used):
            notes.append(f"{others} images that are in no fold are left out.")
        return notes + self._reduced(folder)[1]

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads an image, which must have the size in which its points were set."""
        image, affine = case.read_image()
        points = case.points["points"]
        last = np.array(image.shape[::-1]) - 1
        if ((points < -_MARGIN) | (points > last + _MARGIN)).any():
            x, y = points.max(axis=0)
            raise ValueError(
                f"{case.image_path} must have the atlas's full resolution: its points "
                f"reach to x = {x:g}, y = {y:g}. Received: "
                f"{image.shape[1]} x {image.shape[0]} pixels."
            )
        return image, affine

    def _find_cases(self, folder: Path, problems: list[str]) -> Iterator[Case]:
        setup = _setup(folder, problems)
        if setup is None:
            return
        images = _images(folder)
        for id, paths in images.items():
            if len(paths) > 1:
                names = ", ".join(str(path) for path in paths)
                problems.append(f"The image {id} is there more than once: {names}.")
        path = setup / "all.csv"
        table = read_landmark_table(path, len(self.SCHEMA), problems)
        folds = self._folds(setup, problems)
        self._check_protocol(path, set(table), folds, problems)
        if not any(id in images for ids in folds.values() for id in ids):
            problems.append("No image of any fold (ID.jpg, .png or .mha) is in it.")
        for split, ids in folds.items():
            for id in ids:
                if id not in images or id not in table:
                    continue
                points = table[id]
                width = np.linalg.norm(points[_WRIST[0]] - points[_WRIST[1]])
                if width == 0:
                    problems.append(
                        f"{path}: the landmarks {_WRIST[0] + 1} and {_WRIST[1] + 1} of "
                        f"{id} are in one place, so it has no size in mm."
                    )
                    continue
                spacing = _WRIST_WIDTH / width
                yield Case(
                    id=id,
                    group=id,  # The atlas does not say who is on two films.
                    split=split,
                    image_path=images[id][0],
                    points_paths=(path,),
                    points={"points": points},
                    affine=affine_from_spacing((spacing, spacing)),
                )

    def _check_protocol(
        self,
        path: Path,
        rows: set[str],
        folds: dict[str, list[str]],
        problems: list[str],
    ) -> None:
        """Makes sure that the setup is the published one."""
        for fold, size in enumerate(self.FOLD_SIZES, start=1):
            ids = folds.get(f"fold{fold}")
            if ids is None:
                problems.append(f"{path.parent}/cv/set{fold}/test.txt is missing.")
            elif len(ids) != size:
                problems.append(
                    f"{path.parent}/cv/set{fold}/test.txt must have {size} ids. "
                    f"Received: {len(ids)}."
                )
        used = [id for ids in folds.values() for id in ids]
        if twice := {id for id in used if used.count(id) > 1}:
            problems.append(f"These are in two folds: {_some(twice)}.")
        if len(folds) < len(self.FOLD_SIZES):
            return
        expected = set(used) | self.UNUSED
        if missing := expected - rows:
            problems.append(f"{path} has no row of {_some(missing)}.")
        if unknown := rows - expected:
            problems.append(
                f"{path} has rows that are in no fold of the publication, and not "
                f"among the {len(self.UNUSED)} that are known to be in none: "
                f"{_some(unknown)}."
            )

    def _folds(self, setup: Path | None, problems: list[str]) -> dict[str, list[str]]:
        """Reads the test lists of the three folds, as far as they are there."""
        folds = {}
        for fold in range(1, len(self.FOLD_SIZES) + 1):
            path = (setup or Path()) / f"cv/set{fold}/test.txt"
            if setup and path.is_file():
                folds[f"fold{fold}"] = read_id_list(path, problems)
        return folds

    def _reduced(
        self, folder: Path
    ) -> tuple[dict[str, tuple[str, frozenset[str]]], list[str]]:
        setup = _setup(folder, [])
        lists = {}
        for fold in range(1, 4):
            for count in (10, 50, 100):
                for draw in (1, 2):
                    path = f"cv_rand/{count}/{draw}/set{fold}/train.txt"
                    if setup and (setup / path).is_file():
                        ids = read_id_list(setup / path, [])
                        lists[f"fold{fold}_train_{count}_{draw}"] = ids
        split_of = {case.id: case.split for case in self.cases(folder, [])}
        return subsets_of_lists(lists, split_of)


def _images(folder: Path) -> dict[str, list[Path]]:
    """Finds the images anywhere below a folder, by id."""
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if match := _IMAGE_NAME.fullmatch(path.name):
            images.setdefault(match[1], []).append(path)
    return images


def _setup(folder: Path, problems: list[str]) -> Path | None:
    """Finds the folder of the published setup."""
    tables = sorted(folder.rglob("all.csv"))
    if len(tables) == 1:
        return tables[0].parent
    if tables:
        names = ", ".join(str(path) for path in tables)
        problems.append(f"There is more than one all.csv in it: {names}.")
    else:
        problems.append("There is no all.csv in it.")
    return None


def _some(ids: set[str]) -> str:
    shown = ", ".join(sorted(ids)[:10])
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"
