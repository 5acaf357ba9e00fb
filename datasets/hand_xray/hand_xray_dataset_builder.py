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

# The atlas has no calibrated spacing. By convention, the distance of these landmarks,
# the tips of the ulnar and of the radial styloid, is the width of the wrist.
_WRIST = (1, 5)
_WRIST_WIDTH = 50.0  # mm

# A point may lie a little outside of its image. Far outside, the image is not the one,
# or does not have the size, of the annotation.
_MARGIN = 10.0  # pixels


class Builder(LandmarkBuilder):
    """TFDS builder of the Digital Hand Atlas with the protocol of Payer et al. (2019).

    Splits are the published test folds `fold1`, `fold2` and `fold3`: a model that is
    tested on `fold1` is trained on `fold2+fold3`. All images in the folder are
    prepared; notes give their number in each fold. The published reduced training lists
    whose images are all available are subsets: `fold1_train_10_2` is the second draw of
    10 training images for a test on `fold1`.
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

    PUBLISHED_SPLITS = True
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

    # Images with landmarks that are in no published fold, and thus in no published
    # result. The publication gives no reason.
    UNUSED = frozenset(
        {
            *("3149", "3292", "3303", "4382", "4391", "4392", "4498", "4499"),
            *("5148", "5748", "5917", "7068", "7069", "7070", "7200"),
        }
    )
    FOLD_SIZES = (298, 298, 299)

    def describe(self, folder: Path) -> None:
        """Sets the reduced training lists whose images are all available."""
        self.SUBSETS = self._reduced(folder)[0]

    def cases(self, folder: Path, problems: list[str] | None = None) -> list[Case]:
        """Lists the available images in the order of the folds."""
        new_problems: list[str] = []
        cases = list(self._find_cases(folder, new_problems))
        new_problems = [text.replace(f"{folder}/", "") for text in new_problems]
        if problems is not None:
            problems += new_problems
        elif new_problems:
            hint = self.MANUAL_DOWNLOAD_INSTRUCTIONS
            raise DatasetFolderError(self.name, folder, new_problems, hint)
        return cases

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists incomplete folds, and images and lists that are left out."""
        notes = []
        images = _images(folder)
        folds = self._folds(_setup(folder, []), [])
        for split, ids in folds.items():
            count = sum(id in images for id in ids)
            if not count:
                notes.append(
                    f"The split {split!r} is left out: all {len(ids)} images are "
                    "missing."
                )
            elif count < len(ids):
                notes.append(
                    f"The split {split!r} is incomplete: it has {count} of {len(ids)} "
                    "images."
                )
        used = {id for ids in folds.values() for id in ids}
        if unused := len(images.keys() - used):
            notes.append(f"Images in no fold are left out: {unused}.")
        return notes + self._reduced(folder)[1]

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads an image, which must have the size of its annotation."""
        image, affine = case.read_image()
        points = case.points["points"]
        last = np.array(image.shape[::-1]) - 1
        if ((points < -_MARGIN) | (points > last + _MARGIN)).any():
            x, y = points.max(axis=0)
            raise ValueError(
                f"{case.image_path} must have the full resolution of the atlas: its "
                f"points extend to x = {x:g}, y = {y:g}. Received: "
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
                problems.append(f"The image {id} has more than one file: {names}.")
        path = setup / "all.csv"
        table = read_landmark_table(path, len(self.SCHEMA), problems)
        folds = self._folds(setup, problems)
        self._compare_with_publication(path, set(table), folds, problems)
        if not any(id in images for ids in folds.values() for id in ids):
            problems.append("The folder has no image of any fold (ID.jpg, .png, .mha).")
        for split, ids in folds.items():
            for id in ids:
                if id not in images or id not in table:
                    continue
                points = table[id]
                width = np.linalg.norm(points[_WRIST[0]] - points[_WRIST[1]])
                if width == 0:
                    problems.append(
                        f"{path}: the landmarks {_WRIST[0] + 1} and {_WRIST[1] + 1} of "
                        f"{id} must have different positions, to give a size in mm."
                    )
                    continue
                spacing = _WRIST_WIDTH / width
                yield Case(
                    id=id,
                    group=id,  # The atlas has no ids of patients.
                    split=split,
                    image_path=images[id][0],
                    points_paths=(path,),
                    points={"points": points},
                    affine=affine_from_spacing((spacing, spacing)),
                )

    def _compare_with_publication(
        self,
        path: Path,
        rows: set[str],
        folds: dict[str, list[str]],
        problems: list[str],
    ) -> None:
        """Lists differences of the setup from the published one."""
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
        if repeated := {id for id in used if used.count(id) > 1}:
            problems.append(f"Images are in two folds: {_abbreviate(repeated)}.")
        if len(folds) < len(self.FOLD_SIZES):
            return
        expected = set(used) | self.UNUSED
        if missing := expected - rows:
            problems.append(f"{path} has no rows for {_abbreviate(missing)}.")
        if unknown := rows - expected:
            problems.append(
                f"{path} has rows for images that are neither in a published fold nor "
                f"among the {len(self.UNUSED)} known unused ones: "
                f"{_abbreviate(unknown)}."
            )

    def _folds(self, setup: Path | None, problems: list[str]) -> dict[str, list[str]]:
        """Reads the test lists of the three folds that the setup has."""
        folds = {}
        for fold in range(1, len(self.FOLD_SIZES) + 1):
            path = (setup or Path()) / f"cv/set{fold}/test.txt"
            if setup and path.is_file():
                folds[f"fold{fold}"] = read_id_list(path, problems)
        return folds

    def _reduced(
        self, folder: Path
    ) -> tuple[dict[str, tuple[str, frozenset[str]]], list[str]]:
        """Returns the reduced training lists as subsets, see `subsets_of_lists`."""
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
    """Returns the image files anywhere below a folder by id."""
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if match := _IMAGE_NAME.fullmatch(path.name):
            images.setdefault(match[1], []).append(path)
    return images


def _setup(folder: Path, problems: list[str]) -> Path | None:
    """Returns the folder of the published setup."""
    tables = sorted(folder.rglob("all.csv"))
    if len(tables) == 1:
        return tables[0].parent
    if tables:
        names = ", ".join(str(path) for path in tables)
        problems.append(f"The folder has more than one all.csv: {names}.")
    else:
        problems.append("The folder has no all.csv.")
    return None


def _abbreviate(ids: set[str]) -> str:
    first = ", ".join(sorted(ids)[:10])
    return first if len(ids) <= 10 else f"{first} and {len(ids) - 10} more"
