"""Images and points in a folder of the user."""

import contextlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from scn_keras.datasets.case import Case, reads_stored_pixels
from scn_keras.datasets.dataset_folder_error import DatasetFolderError
from scn_keras.datasets.deals.deal import Deal
from scn_keras.datasets.deals.registry_file import FILE as DEALS
from scn_keras.datasets.deals.registry_file import read_deals
from scn_keras.datasets.deals.set_registry import SOURCE_FOLDER
from scn_keras.datasets.identity.image_identity import pixel_digest
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.datasets.landmark_folder.folder_files import FolderImage, read_folder
from scn_keras.datasets.landmark_folder.folder_folds import assign_folds
from scn_keras.datasets.landmark_folder.folder_listing import other_suffixes
from scn_keras.datasets.landmark_folder.folder_notes import notes_on_points
from scn_keras.datasets.landmark_folder.folder_schema import (
    abbreviate,
    common_dtype,
    dimensions_of,
    empty_landmarks,
    label_problems,
    labelled,
    names_of,
    schema_of,
    shape_problems,
)
from scn_keras.datasets.landmark_folder.folder_settings import (
    FILE_NAME,
    FolderSettings,
    read_settings,
)
from scn_keras.datasets.landmark_folder.folder_splits import patients, splits
from scn_keras.files import ImageHeader, read_image
from scn_keras.geometry import affine_from_spacing
from scn_keras.landmark_schema import LandmarkSchema


class Builder(LandmarkBuilder):
    """TFDS builder of a folder of images beside files of points.

    Each prepared folder has a name, which is its configuration: `landmark_folder/hips`.
    The names of the landmarks, the dimensions and the dtype of the images are taken
    from the folder and stored with the prepared set.

    Args:
        stored_pixels: Bool, whether files with an orientation tag are read as they are
            stored instead of being refused.
        **kwargs: See `LandmarkBuilder`.

    Raises:
        ValueError: If neither a configuration nor a folder is given.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
The folder must hold images in any format that SimpleITK reads, and their points beside
them or in folders of their own, in files of the same names (hip1.nii.gz, hip1.mrk.json)
or in one file for all: .mrk.json, .fcsv, .csv, .xlsx, .tps, .pts, labelme, COCO, Label
Studio or VIA .json, CVAT .xml. Settings that are not in these files belong into
{FILE_NAME}: names, pairs, links, patients, splits.
"""
    SCHEMA = LandmarkSchema(())  # of the class; an instance has that of its folder

    def __init__(self, *, stored_pixels: bool = False, **kwargs: Any) -> None:
        self._stored_pixels = stored_pixels
        super().__init__(**kwargs)

    def cases(self, folder: Path, problems: list[str] | None = None) -> list[Case]:
        """Lists the images of a folder with their points and splits.

        Reads points and headers, but decodes no image.

        Args:
            folder: Path, the folder.
            problems: List of str, to which a sentence is appended for each problem.
                Images with problems are left out.

        Raises:
            DatasetFolderError: If there are problems and `problems` is None.
        """
        settings, images, read_problems = self._read(folder)
        new_problems = list(read_problems)
        names = names_of(settings, images)
        dimensions = dimensions_of(images)
        group = patients(settings, images, new_problems)
        if settings.folds:
            split = self._folds(folder, settings, images, group, new_problems)
        else:
            split = splits(folder, settings, images, new_problems)
        cases = []
        for image in images:
            if image.id not in group or image.id not in split:
                continue
            try:
                points = _points(image, settings, names, dimensions)
            except ValueError as error:
                new_problems.append(str(error))
                continue
            case = Case(
                image.id,
                group[image.id],
                split[image.id],
                image.header.path,
                () if image.points_path is None else (image.points_path,),
                {"points": points},
                _affine(image.header, settings),
                () if image.points is None else tuple(image.points.labels),
                self._stored_pixels,
            )
            cases.append(case)
        used = [image for image in images if image.id in split]
        new_problems += shape_problems(settings, used)
        new_problems += empty_landmarks(names, used)
        new_problems = [_relative(problem, folder) for problem in new_problems]
        if problems is not None:
            problems += new_problems
        elif new_problems:
            raise DatasetFolderError(self.name, folder, new_problems)
        return cases

    def describe(self, folder: Path) -> None:
        """Sets names, dimensions and dtype to those of most of the files."""
        settings, images, problems = self._read(folder)
        if not labelled(images):
            unread = "".join(f" {note}" for note in self._notes)
            others = other_suffixes(folder)
            unread += f" Other files: {others}." if others else ""
            raise ValueError(
                (*problems, f"There are no points in {folder}.{unread}")[0]
            )
        self.SCHEMA = schema_of(folder, settings, images)
        self.DIMENSIONS = dimensions_of(images)
        self.IMAGE_DTYPE = common_dtype(
            {
                image.header.dtype
                for image in images
                if len(image.header.shape) == self.DIMENSIONS
            }
        )
        if settings.spacing:
            self.SPACING_RULE = (
                f"as the file of each image says, else "
                f"{' x '.join(map(str, settings.spacing))} mm per pixel ({FILE_NAME})"
            )

    def layout_problems(self, folder: Path) -> list[str]:
        """Lists problems of the files, points, names and splits of a folder."""
        problems: list[str] = []
        try:
            settings, images, _ = self._read(folder)
            cases = self.cases(folder, problems)
            schema_of(folder, settings, images)
        except ValueError as error:
            return [_relative(problem, folder) for problem in (*problems, str(error))]
        problems += label_problems(settings, images)
        if not problems and not labelled(images):
            problems.append("There are no points.")
        headers = {image.id: image.header for image in images}
        for case in cases:
            outside, count = _outside(case, headers[case.id])
            if outside == count > 0:
                problems.append(
                    f"{case.points_paths[0]}: all points lie outside of "
                    f"{case.image_path}. Do they belong to this image, and are they in "
                    "LPS, RAS or pixels?"
                )
        return [_relative(problem, folder) for problem in problems]

    def file_notes(self, folder: Path) -> list[str]:
        """Lists what the files have that is not read, each kind once."""
        settings, images, _ = self._read(folder)
        notes = [*self._notes, *notes_on_points(settings, images)]
        return [_relative(note, folder) for note in notes]

    def folder_notes(self, folder: Path) -> list[str]:
        """Lists points outside, images left out and images without a spacing."""
        _, images, _ = self._read(folder)
        cases = self.cases(folder)
        headers = {image.id: image.header for image in images}
        notes = []
        uncalibrated = [case for case in cases if not _calibrated(case, headers)]
        if uncalibrated:
            notes.append(
                f"{len(uncalibrated)} of {len(cases)} images have no spacing, so that "
                f"their errors are not in mm (set files.spacing in {FILE_NAME}): "
                f"{abbreviate(case.id for case in uncalibrated)}."
            )
        warned = [note for image in images for note in image.notes]
        if warned:
            more = f" (And {len(warned) - 1} more images.)" * (len(warned) > 1)
            notes.append(warned[0] + more)
        notes += [*self._merged, *self.file_notes(folder)]
        unlabelled = [image.id for image in images if image.points is None]
        if unlabelled:
            notes.append(
                f"{len(unlabelled)} images have no points: {abbreviate(unlabelled)}."
            )
        ids = {image.id for image in images}
        if unused := sorted(ids - {case.id for case in cases}):
            notes.append(f"{len(unused)} images are in no split: {abbreviate(unused)}.")
        outside = [case.id for case in cases if _outside(case, headers[case.id])[0]]
        if outside:
            notes.append(
                f"Points of {len(outside)} of {len(cases)} images lie outside of their "
                f"image: {abbreviate(outside)}. `scn-keras datasets check` may find a "
                "reason."
            )
        return [_relative(note, folder) for note in notes]

    def read_image(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Reads the image of a case in the dtype of the data set."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # part of `folder_notes`
            image, affine = case.read_image()
        stored = image.astype(self.IMAGE_DTYPE)
        if stored.dtype.kind != "f" and not np.array_equal(stored, image):
            raise ValueError(
                f"{case.image_path} must have values in the range of its header, "
                f"{self.IMAGE_DTYPE}. Received: {image.min()} to {image.max()}."
            )
        return stored, affine

    def dealt_folds(self, folder: Path) -> tuple[int, int]:
        """Returns the number of folds that the folder sets, 0 for none, and a seed."""
        settings = read_settings(folder)
        return settings.folds, settings.seed

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> Any:
        splits = super()._split_generators(dl_manager)
        # What is dealt later, for a training, is recorded there as well.
        folder = Path(dl_manager.manual_dir).absolute()
        self.info.metadata[SOURCE_FOLDER] = str(folder)
        return splits

    def _folds(
        self,
        folder: Path,
        settings: FolderSettings,
        images: Sequence[FolderImage],
        group: Mapping[str, str],
        problems: list[str],
    ) -> dict[str, str]:
        """Returns the fold of each image by id, see `assign_folds`."""
        deal, key = None, Deal("folds", dict(number=settings.folds, seed=settings.seed))
        try:
            deals = vars(self).get("_earlier_deals") or read_deals(folder / DEALS)
            deal = next((deal for deal in deals if deal.key == key.key), None)
        except ValueError as error:
            problems.append(str(error))
        used = [image for image in images if image.id in group]
        digests = [""] * len(used)
        if deal is not None:
            bar = tfds.core.utils.tqdm(
                used, desc="Identifying images", unit=" images", leave=False
            )
            digests = [self._digest(image) for image in bar]
        table = ImageTable(
            tuple(image.id for image in used),
            tuple(group[image.id] for image in used),
            tuple(digests),
        )
        self._merged: list[str] = []
        return assign_folds(settings, table, deal, problems, self._merged)

    def _digest(self, image: FolderImage) -> str:
        """Returns the digest of an image; empty if it cannot be read."""
        path, stored = image.header.path, self._stored_pixels or reads_stored_pixels()
        if path not in self._digests:
            with warnings.catch_warnings(), contextlib.suppress(ValueError, OSError):
                warnings.simplefilter("ignore", UserWarning)  # part of `folder_notes`
                pixels, _ = read_image(path, stored_pixels=stored)
                self._digests[path] = pixel_digest(pixels)
        return self._digests.get(path, "")

    def _create_builder_config(self, builder_config: Any, version: Any) -> Any:
        if builder_config is None:
            folder = getattr(self, "_folder", None)
            if folder is None:
                raise ValueError(
                    "A prepared folder needs a name: landmark_folder/NAME. Received: "
                    "no name"
                )
            builder_config = re.sub(r"[^\w.-]", "_", folder.resolve().name)
        if isinstance(builder_config, str):
            if not re.fullmatch(r"\w[\w.-]*", builder_config):
                raise ValueError(
                    "The name of a prepared folder must consist of letters, digits, "
                    f"_, - and dots. Received: {builder_config!r}"
                )
            builder_config = tfds.core.BuilderConfig(name=builder_config)
        return builder_config

    def _read(
        self, folder: Path
    ) -> tuple[FolderSettings, list[FolderImage], list[str]]:
        """Reads a folder once, since a DICOM series has a file for each slice."""
        if getattr(self, "_folder", None) != folder:
            problems: list[str] = []
            settings = read_settings(folder)
            self._notes: list[str] = []
            images = read_folder(
                folder, settings, problems, self._notes, self._stored_pixels
            )
            self._content = settings, images, problems
            self._digests: dict[Path, str] = {}
            self._merged = []
            self._folder = folder
        return self._content


def _points(
    image: FolderImage, settings: FolderSettings, names: Sequence[str], dimensions: int
) -> np.ndarray:
    """Returns the points of an image in its pixels, in the order of the names."""
    path, rank = image.header.path, len(image.header.shape)
    if rank != dimensions:
        raise ValueError(
            f"{path} must have {dimensions} axes like most of the images: the images "
            f"of a data set are all 2D or all 3D. Received: {rank} axes."
        )
    if image.points is None:
        if not settings.unlabelled:
            raise ValueError(
                f"{path} has no points. If that is correct, set unlabelled = true "
                f"under [files] in {FILE_NAME}."
            )
        return np.full((len(names), dimensions), np.nan)
    if image.points.image_size is not None:
        _require_size(image, image.points.image_size)
    affine = _affine(image.header, settings)
    target: ImageHeader | np.ndarray = image.header
    if image.points.points.shape[1] == 2 and affine is not None:
        target = affine
    try:
        return image.points.to_pixels(target).ordered(names)
    except ValueError as error:
        raise ValueError(f"{image.points_path}, points of {path}: {error}.") from error


def _require_size(image: FolderImage, stated: tuple[int, int]) -> None:
    """Raises a ValueError if the file of points is of an image of another size."""
    height, width = image.header.shape[-2:]
    if stated == (width, height):
        return
    turned = ""
    if stated == (height, width):
        turned = (
            " Width and height are exchanged, as where a tool turns an image by its "
            "EXIF orientation: save the image turned and without this orientation."
        )
    raise ValueError(
        f"{image.points_path}: the size of {image.header.path} must be that in the "
        f"file of points, {stated[0]} x {stated[1]} pixels (width x height). Mark the "
        f"points on the image itself, or correct the size.{turned} Received: an image "
        f"of {width} x {height} pixels."
    )


def _affine(header: ImageHeader, settings: FolderSettings) -> np.ndarray | None:
    """Returns the affine of an image by the settings; None for that of its file."""
    if header.affine is None and len(settings.spacing) == len(header.shape):
        return affine_from_spacing(settings.spacing)
    return None


def _calibrated(case: Case, headers: dict[str, ImageHeader]) -> bool:
    return case.affine is not None or headers[case.id].affine is not None


def _outside(case: Case, header: ImageHeader) -> tuple[int, int]:
    """Returns the number of points outside of the image, and of all its points."""
    points = case.points["points"]
    points = points[~np.isnan(points[:, 0])]
    inside = (points >= -0.5) & (points <= np.array(header.shape[::-1]) - 0.5)
    return int((~inside.all(1)).sum()), len(points)


def _relative(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "")
