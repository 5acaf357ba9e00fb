"""Lateral cephalograms of the ISBI 2015 challenge, 19 landmarks, two observers."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.datasets.case import Case
from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.landmark_table import (
    read_id_list,
    read_landmark_table,
    subsets_of_lists,
)
from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing
from scn_keras.landmark_schema import LandmarkSchema

# Test1 films that are also training films, annotated again and some of them at another
# exposure. Found by correlation of locally normalised high-pass images: these pairs
# have 0.96 or more, the next pair 0.42. Byte hashes find two of them. Test2 has none.
TRAIN_TEST1_REPEATS = {
    "275": "001", "293": "007", "295": "010", "287": "014", "296": "028",
    "283": "038", "280": "056", "288": "062", "282": "080", "297": "088",
    "201": "103", "289": "108", "285": "118", "276": "123", "299": "126",
    "291": "132", "292": "137", "281": "138", "279": "141", "173": "144",
}  # fmt: skip

# Films that occur twice in Test1, found in the same way.
TEST1_REPEATS = {"278": "159", "294": "188", "277": "196"}

_FIRST_FILM = {**TRAIN_TEST1_REPEATS, **TEST1_REPEATS}

# Test1 without training films and without duplicates: 127 of 150 films. All of Test1
# favours models that memorise. Results on Test1 should be reported for both.
TEST1_UNIQUE = frozenset(f"{n:03d}" for n in range(151, 301)) - _FIRST_FILM.keys()

_IMAGE_NAME = re.compile(r"(\d{3})\.(bmp|jpe?g|png)", re.IGNORECASE)

# Lines after the 19 landmarks in the official files, which some copies do not have.
_CLASS_LINES = 8

# The ground truth of the challenge in mm. It equals the senior observer's, except for
# landmark 16 (soft tissue pogonion) in Test2.
_CHALLENGE_TABLE = "all_challenge.csv"


class Builder(LandmarkBuilder):
    """TFDS builder of the ISBI 2015 cephalograms.

    Splits are `train`, `test1` and `test2`. A split without any image in the folder is
    left out; an incomplete split is an error. `group` is the patient: films that occur
    twice in the official set share it.

    With `all_challenge.csv` in the folder, samples have `points_challenge`. With the
    lists of the four published folds, `cv1_train`, `cv1_val`, ... are subsets.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
The folder must hold the challenge's files as they were published:
  RawImage/TrainingData/001.bmp ... 150.bmp   (or .jpg, .png)
  RawImage/Test1Data/151.bmp ... 300.bmp
  RawImage/Test2Data/301.bmp ... 400.bmp
  AnnotationsByMD/400_senior/001.txt ... 400.txt
  AnnotationsByMD/400_junior/001.txt ... 400.txt
and may hold, from the setup that Payer et al. published:
  setup/all_challenge.csv                     the challenge's own ground truth
  setup/cv/set1 ... set4/train.txt, val.txt   four folds of the 400 films
A test set may be absent as a whole.
"""

    PUBLISHED_SPLITS = True
    SCHEMA = LandmarkSchema(
        names=(
            "sella",
            "nasion",
            "orbitale",
            "porion",
            "subspinale",
            "supramentale",
            "pogonion",
            "menton",
            "gnathion",
            "gonion",
            "lower incisal incision",
            "upper incisal incision",
            "upper lip",
            "lower lip",
            "subnasale",
            "soft tissue pogonion",
            "posterior nasal spine",
            "anterior nasal spine",
            "articulare",
        ),
        links=(
            (0, 1),  # cranial base
            (0, 18),
            (3, 2),  # Frankfort horizontal
            (16, 17),  # palatal plane
            (1, 4),
            (4, 5),
            (5, 6),
            (6, 8),  # mandible, from chin to joint
            (8, 7),
            (7, 9),
            (9, 18),
            (10, 11),
            (14, 12),  # soft tissue profile
            (12, 13),
            (13, 15),
        ),
    )
    OBSERVERS = ("senior", "junior")
    SUBSETS = {"test1_unique": ("test1", TEST1_UNIQUE)}  # noqa: RUF012
    SPACING_RULE = "0.1 mm per pixel, assumed of every film as in the challenge"
    LICENSE = (
        "The challenge's images come without a clear licence: for research only. The "
        "Apache licence of scn-keras does not cover this model."
    )
    LIMITS = (
        "Lateral cephalograms, whole, as in the challenge. 20 of the training films "
        "are in its Test1 again: `test1_unique` leaves them out."
    )

    # Split: the folder of its images and the numbers of its films.
    FILMS: ClassVar[dict[str, tuple[str, range]]] = {
        "train": ("TrainingData", range(1, 151)),
        "test1": ("Test1Data", range(151, 301)),
        "test2": ("Test2Data", range(301, 401)),
    }
    IMAGE_SIZE = (2400, 1935)  # y, x, of every film
    SPACING = 0.1  # mm per pixel, of every film at its published size

    def describe(self, folder: Path) -> None:
        """Sets the challenge's ground truth and the folds that a folder has."""
        table = self._setup_file(folder, _CHALLENGE_TABLE)
        self.GROUND_TRUTHS = ("challenge",) if table else ()
        self.SUBSETS = {**type(self).SUBSETS, **self._folds(folder)[0]}

    def cases(self, folder: Path, problems: list[str] | None = None) -> list[Case]:
        """Lists the films of a folder with readable points, see `LandmarkBuilder`."""
        new_problems = self._missing_folders(folder)
        cases = []
        if not new_problems:
            cases = list(self._find_cases(folder, new_problems))
            # The table of all splits is read for each of them.
            relative = (_relative(problem, folder) for problem in new_problems)
            new_problems = list(dict.fromkeys(relative))
        if problems is not None:
            problems += new_problems
        elif new_problems:
            hint = self.MANUAL_DOWNLOAD_INSTRUCTIONS
            raise DatasetFolderError(self.name, folder, new_problems, hint)
        return cases

    def layout_problems(self, folder: Path) -> list[str]:
        """Lists invalid and missing files, and points outside of the films."""
        problems: list[str] = []
        self.cases(folder, problems)
        height, width = self.IMAGE_SIZE
        for split in self._present(folder):
            for feature, by_film in self._points(folder, split, []).items():
                for film, points in by_film.items():
                    inside = (points >= 0) & (points <= (width - 1, height - 1))
                    for row in np.flatnonzero(~inside.all(axis=1)):
                        x, y = points[row]
                        source = self._source(folder, feature, film, int(row))
                        problems.append(
                            f"{_relative(source, folder)} lies outside of the image of "
                            f"{width} x {height} pixels. Received: '{x:g},{y:g}'."
                        )
        return problems

    def folder_problems(self, folder: Path) -> list[str]:
        """Lists all problems of a folder. Decodes every image."""
        problems = self.layout_problems(folder)
        images = [path for paths in self._images(folder).values() for path in paths]
        for path in tfds.core.utils.tqdm(
            images, desc="Checking images", unit=" images", leave=False
        ):
            try:
                self._read_film(path)
            except ValueError as error:
                problems.append(_relative(str(error), folder))
        return problems

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists the splits and folds that are left out because images are missing."""
        present = self._present(folder)
        return [
            f"The split {split!r} is left out: RawImage/{name} has no images."
            for split, (name, _) in self.FILMS.items()
            if split not in present
        ] + self._folds(folder)[1]

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads a film, which must have the published size, and its affine."""
        return self._read_film(case.image_path), self._affine()

    def _find_cases(self, folder: Path, problems: list[str]) -> Iterator[Case]:
        images = self._images(folder)
        if not any(images.values()):
            folders = ", ".join(f"RawImage/{name}" for name, _ in self.FILMS.values())
            problems.append(f"No images (001.bmp, .jpg or .png) in any of {folders}.")
        for split in self._present(folder):
            films = self._films(split)
            where = f"RawImage/{self.FILMS[split][0]}"
            problems += _image_problems(where, films, images[split])
            image_of = {path.stem: path for path in reversed(images[split])}
            points = self._points(folder, split, problems)
            for film in films:
                if film in image_of and all(film in p for p in points.values()):
                    yield Case(
                        id=film,
                        group=_FIRST_FILM.get(film, film),
                        split=split,
                        image_path=image_of[film],
                        points_paths=tuple(
                            self._points_path(folder, feature, film)
                            for feature in points
                        ),
                        points={
                            feature: by_film[film]
                            for feature, by_film in points.items()
                        },
                        affine=self._affine(),
                    )
        self._lists(folder, problems)

    def _missing_folders(self, folder: Path) -> list[str]:
        names = ("RawImage", "AnnotationsByMD")
        hint = next(
            (
                f" Did you mean {path}?"
                for path in [folder.parent, *sorted(folder.glob("*/"))]
                if all((path / name).is_dir() for name in names)
            ),
            "",
        )
        return [
            f"The folder {name}/ is missing.{hint}"
            for name in names
            if not (folder / name).is_dir()
        ]

    def _points(
        self, folder: Path, split: str, problems: list[str]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Returns the points of a split, `(19, 2)` in pixels, by feature and film."""
        films = self._films(split)
        points = {
            f"points_{observer}": self._annotations(folder, observer, films, problems)
            for observer in self.OBSERVERS
        }
        if path := self._setup_file(folder, _CHALLENGE_TABLE):
            table = read_landmark_table(path, len(self.SCHEMA), problems)
            points["points_challenge"] = {
                film: table[film] / self.SPACING for film in films if film in table
            }
            if missing := sorted(set(films) - table.keys()):
                problems.append(
                    f"{path}: {len(missing)} of {len(films)} films are missing: "
                    f"{_ranges(missing)}."
                )
        return points

    def _points_path(self, folder: Path, feature: str, film: str) -> Path:
        if feature == "points_challenge":
            return self._setup_file(folder, _CHALLENGE_TABLE) or folder
        return _annotation(folder, feature.removeprefix("points_"), film)

    def _source(self, folder: Path, feature: str, film: str, row: int) -> str:
        """Returns the file and the line of a landmark for a message."""
        path = self._points_path(folder, feature, film)
        if feature == "points_challenge":
            return f"{path}: landmark {row + 1} of film {film}"
        return f"{path}, line {row + 1}"

    def _lists(self, folder: Path, problems: list[str]) -> dict[str, list[str]]:
        """Reads the published lists of four folds that the folder has."""
        films = {film for split in self.FILMS for film in self._films(split)}
        lists = {}
        for fold in range(1, 5):
            for part in ("train", "val"):
                path = self._setup_file(folder, f"cv/set{fold}/{part}.txt")
                if path is None:
                    continue
                ids = lists[f"cv{fold}_{part}"] = read_id_list(path, problems)
                if unknown := sorted(set(ids) - films):
                    problems.append(f"{path} has unknown films: {', '.join(unknown)}.")
        return lists

    def _folds(
        self, folder: Path
    ) -> tuple[dict[str, tuple[str, frozenset[str]]], list[str]]:
        split_of = {
            path.stem: split
            for split, paths in self._images(folder).items()
            for path in paths
        }
        return subsets_of_lists(self._lists(folder, []), split_of)

    def _setup_file(self, folder: Path, name: str) -> Path | None:
        """Returns a file of the published setup, in `setup/` or in the folder."""
        paths = (folder / "setup" / name, folder / name)
        return next((path for path in paths if path.is_file()), None)

    def _images(self, folder: Path) -> dict[str, list[Path]]:
        """Returns the image files of each split, in the order of their numbers."""
        images = {}
        for split, (name, _) in self.FILMS.items():
            files = folder / "RawImage" / name
            paths = files.iterdir() if files.is_dir() else ()
            images[split] = sorted(p for p in paths if _IMAGE_NAME.fullmatch(p.name))
        return images

    def _present(self, folder: Path) -> list[str]:
        return [split for split, paths in self._images(folder).items() if paths]

    def _films(self, split: str) -> list[str]:
        return [f"{number:03d}" for number in self.FILMS[split][1]]

    def _affine(self) -> np.ndarray:
        return affine_from_spacing((self.SPACING, self.SPACING))

    def _annotations(
        self, folder: Path, observer: str, films: list[str], problems: list[str]
    ) -> dict[str, np.ndarray]:
        """Returns the points of one observer, `(19, 2)` in pixels, by film."""
        points, missing = {}, []
        for film in films:
            path = _annotation(folder, observer, film)
            if not path.is_file():
                missing.append(film)
                continue
            try:
                points[film] = self._read_points(path)
            except ValueError as error:
                problems.append(str(error))
        if missing:
            where = _annotation(folder, observer, "").parent
            problems.append(
                f"{where}: {len(missing)} of {len(films)} annotation files are "
                f"missing: {_ranges(missing)}."
            )
        return points

    def _read_film(self, path: Path) -> np.ndarray:
        image, _ = read_image(path)
        if image.dtype != np.uint8:
            raise ValueError(f"{path} must have 8 bits. Received: {image.dtype}.")
        if image.shape != self.IMAGE_SIZE:
            # The spacing of 0.1 mm per pixel would be wrong for a rescaled copy.
            height, width = self.IMAGE_SIZE
            raise ValueError(
                f"{path} must be {width} x {height} pixels, the published size. "
                f"Received: {' x '.join(map(str, reversed(image.shape)))}."
            )
        return image

    def _read_points(self, path: Path) -> np.ndarray:
        """Reads the landmarks of one film, `(19, 2)` in pixels."""
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not a text file.") from error
        lines = [line.strip() for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        count = len(self.SCHEMA)
        if len(lines) not in (count, count + _CLASS_LINES):
            raise ValueError(
                f"{path} must have {count} lines `x,y`, or {count + _CLASS_LINES} with "
                f"the diagnosis classes. Received: {len(lines)}."
            )
        points = np.empty((count, 2))
        for row, line in enumerate(lines[:count]):
            try:
                x, y = (float(value) for value in line.split(","))
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {row + 1} must be `x,y` in pixels. Received: "
                    f"{line[:40]!r}."
                ) from error
            if not (math.isfinite(x) and math.isfinite(y)):
                raise ValueError(
                    f"{path}, line {row + 1} must be two finite numbers. Received: "
                    f"{line[:40]!r}."
                )
            points[row] = x, y
        return points


def _image_problems(where: str, films: list[str], paths: list[Path]) -> list[str]:
    problems = []
    names = [path.stem for path in paths]
    if missing := sorted(set(films) - set(names)):
        problems.append(
            f"{where}: {len(missing)} of {len(films)} images are missing: "
            f"{_ranges(missing)}."
        )
    if foreign := sorted(set(names) - set(films)):
        problems.append(
            f"{where}: {len(foreign)} images belong to another folder: "
            f"{_ranges(foreign)}."
        )
    for film in sorted({film for film in names if names.count(film) > 1}):
        files = ", ".join(path.name for path in paths if path.stem == film)
        problems.append(f"{where}: film {film} has more than one image: {files}.")
    return problems


def _annotation(folder: Path, observer: str, film: str) -> Path:
    return folder / "AnnotationsByMD" / f"400_{observer}" / f"{film}.txt"


def _relative(problem: str, folder: Path) -> str:
    return problem.replace(f"{folder}/", "")


def _ranges(films: list[str]) -> str:
    """Abbreviates sorted film numbers: 004, 017-020."""
    runs: list[list[str]] = []
    for film in films:
        if runs and int(film) == int(runs[-1][-1]) + 1:
            runs[-1].append(film)
        else:
            runs.append([film])
    return ", ".join(r[0] if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
