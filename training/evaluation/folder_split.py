import hashlib
import os
import pathlib
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.datasets import Case, DatasetFolderError, builder_class
from scn_keras.datasets._good_cases import good_cases
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.files.orientation import (
    REFUSED,
    STORED_PIXELS,
    stored_pixels_note,
)
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.recipe import Recipe


class FolderSplit:
    """The images of a folder for an evaluation, without preparing a data set.

    Images and points are read as by `landmark_folder`, including `landmarks.toml` if it
    exists. Landmarks are sorted by name into the order of the run's landmarks.

    Args:
        folder: The folder.
        schema: `LandmarkSchema` of the run.
        dimensions: Int, 2 or 3, the dimensions of the run's images.
        split: Str, a split that the folder defines; `None` for all images.
        orientation: Str, the rule of the run for files with an orientation tag.
        left_out: List of str. Images that cannot be read are left out, and a sentence
            on each problem is appended. None to refuse a folder with problems.

    Attributes:
        name: Str, the name of results on these images.
        dataset: Str, the name of the folder with a digest of its patients and points,
            so that a corrected folder counts as another data set.
        builder: `LandmarkBuilder` of the folder.
        arguments: Sequence of str, the command-line arguments for these images.
        absent: Sequence of str, landmarks of the run that the folder does not have.

    Raises:
        FileNotFoundError: If the folder does not exist.
        DatasetFolderError: If the folder has errors or cannot be read.
        ValueError: If the folder has landmarks that the run does not have, images of
            other dimensions, or no such split.

    Warns:
        UserWarning: If a file with an orientation tag is used as it is stored.
    """

    truths = (None,)

    def __init__(
        self,
        folder: str | pathlib.Path,
        schema: LandmarkSchema,
        dimensions: int,
        split: str | None = None,
        orientation: str = REFUSED,
        left_out: list[str] | None = None,
    ) -> None:
        folder = pathlib.Path(os.path.abspath(pathlib.Path(folder).expanduser()))
        if not folder.is_dir():
            raise FileNotFoundError(
                f"The folder does not exist. Received: folder={str(folder)!r}"
            )
        # With an empty data directory, the builder cannot take the landmarks of a
        # prepared data set with the same name.
        with tempfile.TemporaryDirectory() as empty_data_dir:
            cls = builder_class("landmark_folder")
            self.builder = cls(
                folder=folder,
                data_dir=empty_data_dir,
                stored_pixels=orientation == STORED_PIXELS,
            )
        cases: list[Case] | None = None
        problems = self.builder.folder_problems(folder)
        if problems:
            cases, problems, are_of_files = good_cases(self.builder, folder, problems)
            if left_out is None or not are_of_files:
                raise DatasetFolderError(self.builder.name, folder, problems)
            left_out += problems
        own = self.builder.SCHEMA.names
        self.absent = [name for name in schema.names if name not in own]
        if unknown := [name for name in own if name not in schema.names]:
            raise ValueError(
                f"All landmarks of {folder} must be landmarks of the run. Landmarks of "
                f"the run without points: {', '.join(self.absent) or 'none'}. "
                f"Received unknown landmarks: {', '.join(unknown)}"
            )
        if self.builder.DIMENSIONS != dimensions:
            raise ValueError(
                f"The run requires images with {dimensions} axes. Received: images "
                f"with {self.builder.DIMENSIONS} axes in {folder}"
            )
        if cases is None:
            cases = list(self.builder.cases(folder))
        self.cases = {case.id: case for case in cases if split in (None, case.split)}
        if not self.cases:
            raise ValueError(
                f"{folder} has the splits {sorted({case.split for case in cases})}. "
                f"Received: split={split!r}"
            )
        if orientation == STORED_PIXELS:
            for case in self.cases.values():
                if note := stored_pixels_note(case.image_path):
                    warnings.warn(note, stacklevel=2)
        self._rows = [own.index(name) if name in own else -1 for name in schema.names]
        config = self.builder.builder_config.name
        self.name = "_".join(filter(None, ("folder", config, split)))
        digest = hashlib.sha256()
        for case in self.cases.values():
            digest.update(f"{case.id}\n{case.group}\n".encode())
            digest.update(case.points["points"].round(3).tobytes())
        self.dataset = f"folder/{config}/{digest.hexdigest()[:8]}"
        self.arguments = ["--folder", str(folder)]
        if split is not None:
            self.arguments += ["--split", split]

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns the true points `(N, D)` of a sample."""
        del truth  # a folder has only one
        return np.asarray(sample["points"], np.float64)

    def scopes(self) -> Iterator[tuple[str, frozenset[str] | None]]:
        """Yields the name of the results, with `None` for all images."""
        yield self.name, None

    def table(self) -> ImageTable:
        """Returns the images with what identifies them. Reads every image."""
        return ImageTable.of_samples(map(self._sample, self.cases.values()))

    def permits_seen(self, recipe: Recipe) -> bool:
        """Returns False: a folder is evaluated as a test."""
        del recipe
        return False

    def samples(self) -> tf.data.Dataset:
        """Returns the samples as they would be stored in a prepared data set."""
        d = self.builder.DIMENSIONS
        text = tf.TensorSpec((), tf.string)
        dtype = tf.as_dtype(self.builder.IMAGE_DTYPE)
        samples = tf.data.Dataset.from_generator(
            lambda: map(self._sample, self.cases.values()),
            output_signature={
                "id": text,
                "group": text,
                "image": tf.TensorSpec((*[None] * d, 1), dtype),
                "points": tf.TensorSpec((len(self._rows), d), tf.float32),
                "affine": tf.TensorSpec((d + 1, d + 1), tf.float32),
            },
        )
        size = tf.data.experimental.assert_cardinality(len(self.cases))
        return samples.apply(size)

    def find(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Returns single samples by their ids."""
        return {id: self._sample(self.cases[id]) for id in ids}

    def _sample(self, case: Case) -> dict[str, Any]:
        image, affine = self.builder.read_image(case)
        points = case.points["points"]
        points = np.append(points, np.full_like(points[:1], np.nan), axis=0)
        return {
            "id": case.id.encode(),
            "group": case.group.encode(),
            "image": image[..., None],
            "points": points[self._rows].astype(np.float32),
            "affine": affine.astype(np.float32),
        }
