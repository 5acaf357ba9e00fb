"""Lateral cephalograms of the ISBI 2015 challenge, 19 landmarks, two observers."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing
from scn_keras.landmark_schema import LandmarkSchema

# Films of the training set that are in Test1 again, annotated anew and in part at
# another exposure. Found by correlating locally normalised high-pass images: these
# pairs score at least 0.96, the next pair 0.42. Byte hashes find two of them. Test2
# has no repeats.
TRAIN_TEST1_REPEATS = {
    "275": "001", "293": "007", "295": "010", "287": "014", "296": "028",
    "283": "038", "280": "056", "288": "062", "282": "080", "297": "088",
    "201": "103", "289": "108", "285": "118", "276": "123", "299": "126",
    "291": "132", "292": "137", "281": "138", "279": "141", "173": "144",
}  # fmt: skip

# Films that are twice within Test1, found in the same way.
TEST1_REPEATS = {"278": "159", "294": "188", "277": "196"}

_FIRST_FILM = {**TRAIN_TEST1_REPEATS, **TEST1_REPEATS}

# Test1 without films of the training set, and each other film once: 127 of 150. The
# whole of Test1 favours a model that remembers. Whoever reports Test1 reports both.
TEST1_UNIQUE = frozenset(f"{n:03d}" for n in range(151, 301)) - _FIRST_FILM.keys()

_IMAGE_NAME = re.compile(r"(\d{3})\.(bmp|jpe?g|png)", re.IGNORECASE)

# After the 19 landmarks the official files give 8 diagnosis classes, some copies not.
_CLASS_LINES = 8


class Builder(LandmarkBuilder):
    """TFDS builder of the ISBI 2015 cephalograms.

    Splits are `train`, `test1` and `test2`, as far as the folder has them: one of
    which no image is there is left out, one of which some are missing is an error.
    `group` is the patient: films that are in the official set twice share it.
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
A test set may be absent as a whole.
"""

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
    SUBSETS: ClassVar[dict[str, tuple[str, frozenset[str]]]] = {
        "test1_unique": ("test1", TEST1_UNIQUE)
    }
    SPACING_RULE = "0.1 mm per pixel, assumed of every film as in the challenge"

    # Split: the folder of its images and its films' numbers.
    FILMS: ClassVar[dict[str, tuple[str, range]]] = {
        "train": ("TrainingData", range(1, 151)),
        "test1": ("Test1Data", range(151, 301)),
        "test2": ("Test2Data", range(301, 401)),
    }
    IMAGE_SIZE = (2400, 1935)  # y, x, of every film
    SPACING = 0.1  # mm per pixel, of every film at its published size

    def folder_problems(self, folder: Path) -> list[str]:
        """Lists everything that is wrong with a folder, decoding every image."""
        problems = self._layout_problems(folder)
        images = [path for paths in self._images(folder).values() for path in paths]
        for path in tfds.core.utils.tqdm(
            images, desc="Checking images", unit=" images", leave=False
        ):
            try:
                self._read_film(path)
            except ValueError as error:
                problems.append(_relative(error, folder))
        return problems

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists the splits that are left out because their images are not there."""
        found = self._present(folder)
        return [
            f"The split {split!r} is left out: RawImage/{name} has no images."
            for split, (name, _) in self.FILMS.items()
            if split not in found
        ]

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        folder = Path(dl_manager.manual_dir)
        if problems := self._layout_problems(folder):
            raise DatasetFolderError(
                self.name, folder, problems, self.MANUAL_DOWNLOAD_INSTRUCTIONS
            )
        return {
            split: self._generate_examples(folder, split)
            for split in self._present(folder)
        }

    def _generate_examples(
        self, folder: Path, split: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        affine = affine_from_spacing((self.SPACING, self.SPACING))
        for path in self._images(folder)[split]:
            film = path.stem
            points = {
                f"points_{observer}": self._read_points(
                    _annotation(folder, observer, film)
                )
                for observer in self.OBSERVERS
            }
            group = _FIRST_FILM.get(film, film)
            yield film, self.sample(film, self._read_film(path), points, affine, group)

    def _images(self, folder: Path) -> dict[str, list[Path]]:
        """Returns the image files of each split, in the order of their numbers."""
        images = {}
        for split, (name, _) in self.FILMS.items():
            files = folder / "RawImage" / name
            found = files.iterdir() if files.is_dir() else ()
            images[split] = sorted(p for p in found if _IMAGE_NAME.fullmatch(p.name))
        return images

    def _present(self, folder: Path) -> list[str]:
        return [split for split, paths in self._images(folder).items() if paths]

    def _layout_problems(self, folder: Path) -> list[str]:
        """Lists wrong and missing files, without decoding images."""
        rooms = ("RawImage", "AnnotationsByMD")
        absent = [room for room in rooms if not (folder / room).is_dir()]
        if absent:
            hint = next(
                (
                    f" Did you mean {path}?"
                    for path in [folder.parent, *sorted(folder.glob("*/"))]
                    if all((path / room).is_dir() for room in rooms)
                ),
                "",
            )
            return [f"There is no folder {room}/ in it.{hint}" for room in absent]

        problems = []
        images = self._images(folder)
        if not any(images.values()):
            folders = ", ".join(f"RawImage/{name}" for name, _ in self.FILMS.values())
            problems.append(f"No images (001.bmp, .jpg or .png) in any of {folders}.")
        for split in self._present(folder):
            name, numbers = self.FILMS[split]
            problems += self._image_problems(f"RawImage/{name}", numbers, images[split])
            for observer in self.OBSERVERS:
                problems += self._annotation_problems(folder, observer, numbers)
        return problems

    def _image_problems(
        self, where: str, numbers: range, paths: list[Path]
    ) -> list[str]:
        problems = []
        films = [path.stem for path in paths]
        expected = [f"{number:03d}" for number in numbers]
        if missing := sorted(set(expected) - set(films)):
            problems.append(
                f"{where}: {len(missing)} of {len(expected)} images are missing: "
                f"{_ranges(missing)}."
            )
        if foreign := sorted(set(films) - set(expected)):
            problems.append(
                f"{where}: {len(foreign)} images belong to another folder: "
                f"{_ranges(foreign)}."
            )
        for film in sorted({film for film in films if films.count(film) > 1}):
            names = ", ".join(path.name for path in paths if path.stem == film)
            problems.append(f"{where}: film {film} is there more than once: {names}.")
        return problems

    def _annotation_problems(
        self, folder: Path, observer: str, numbers: range
    ) -> list[str]:
        problems, missing = [], []
        for film in (f"{number:03d}" for number in numbers):
            path = _annotation(folder, observer, film)
            if not path.is_file():
                missing.append(film)
                continue
            try:
                self._read_points(path)
            except ValueError as error:
                problems.append(_relative(error, folder))
        if missing:
            where = _annotation(folder, observer, "").parent.relative_to(folder)
            problems.insert(
                0,
                f"{where}: {len(missing)} of {len(numbers)} annotation files are "
                f"missing: {_ranges(missing)}.",
            )
        return problems

    def _read_film(self, path: Path) -> np.ndarray:
        image, _ = read_image(path)
        if image.dtype != np.uint8:
            raise ValueError(f"{path} must have 8 bits. Received: {image.dtype}.")
        if image.shape != self.IMAGE_SIZE:
            # Of a rescaled copy 0.1 mm per pixel would be false.
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
        height, width = self.IMAGE_SIZE
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
            if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                raise ValueError(
                    f"{path}, line {row + 1} lies outside of the image of {width} x "
                    f"{height} pixels. Received: {line[:40]!r}."
                )
            points[row] = x, y
        return points


def _annotation(folder: Path, observer: str, film: str) -> Path:
    return folder / "AnnotationsByMD" / f"400_{observer}" / f"{film}.txt"


def _relative(error: ValueError, folder: Path) -> str:
    return str(error).replace(f"{folder}/", "")


def _ranges(films: list[str]) -> str:
    """Shortens sorted film numbers: 004, 017-020."""
    runs: list[list[str]] = []
    for film in films:
        if runs and int(film) == int(runs[-1][-1]) + 1:
            runs[-1].append(film)
        else:
            runs.append([film])
    return ", ".join(r[0] if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
