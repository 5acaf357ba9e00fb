import hashlib
import os
import pathlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.datasets import Case, DatasetFolderError, builder_class
from scn_keras.landmark_schema import LandmarkSchema


class FolderSplit:
    """The images of a folder that a run is scored on, without being prepared.

    Images and points are read as `landmark_folder` reads them, with `landmarks.toml`
    if there is one, and brought into the order of the run's landmarks by their names.

    Args:
        folder: The folder.
        schema: `LandmarkSchema` of the run.
        dimensions: Int, 2 or 3, of the images that the run takes.
        split: Str, one of the splits that the folder says; `None` for all images.

    Attributes:
        name: Str, what results on these images are filed under.
        dataset: Str, the folder's name, and a number that tells patients and points
            from others: after a correction it is another data set.
        builder: `LandmarkBuilder` of the folder.
        arguments: Sequence of str, what says so on a command line.
        absent: Sequence of str, landmarks of the run that the folder has not.

    Raises:
        FileNotFoundError: If there is no such folder.
        DatasetFolderError: If something in it is wrong or cannot be read.
        ValueError: If it has landmarks that the run has not, images of other
            dimensions, or no such split.
    """

    truths = (None,)

    def __init__(
        self,
        folder: str | pathlib.Path,
        schema: LandmarkSchema,
        dimensions: int,
        split: str | None = None,
    ) -> None:
        folder = pathlib.Path(os.path.abspath(pathlib.Path(folder).expanduser()))
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}")
        # A prepared set of that name, whose landmarks the builder would have, is not
        # asked.
        with tempfile.TemporaryDirectory() as nothing_prepared:
            cls = builder_class("landmark_folder")
            self.builder = cls(folder=folder, data_dir=nothing_prepared)
        if problems := self.builder.folder_problems(folder):
            raise DatasetFolderError(self.builder.name, folder, problems)
        own = self.builder.SCHEMA.names
        self.absent = [name for name in schema.names if name not in own]
        if unknown := [name for name in own if name not in schema.names]:
            raise ValueError(
                f"{folder} has landmarks that the run has not: {', '.join(unknown)}. "
                f"Those of the run that it has not: {', '.join(self.absent) or 'none'}."
            )
        if self.builder.DIMENSIONS != dimensions:
            raise ValueError(
                f"The run takes images of {dimensions} axes. Those in {folder} have "
                f"{self.builder.DIMENSIONS}."
            )
        cases = self.builder.cases(folder)
        self.cases = {case.id: case for case in cases if split in (None, case.split)}
        if not self.cases:
            raise ValueError(
                f"{folder} has the splits {sorted({case.split for case in cases})}. "
                f"Received: split={split!r}"
            )
        self._rows = [own.index(name) if name in own else -1 for name in schema.names]
        named = self.builder.builder_config.name
        self.name = "_".join(filter(None, ("folder", named, split)))
        digest = hashlib.sha256()
        for case in self.cases.values():
            digest.update(f"{case.id}\n{case.group}\n".encode())
            digest.update(case.points["points"].round(3).tobytes())
        self.dataset = f"folder/{named}/{digest.hexdigest()[:8]}"
        self.arguments = ["--folder", str(folder)]
        if split is not None:
            self.arguments += ["--split", split]

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns the points `(N, D)` of a sample."""
        del truth  # there is one
        return np.asarray(sample["points"], np.float64)

    def scopes(self) -> Iterator[tuple[str, frozenset[str] | None]]:
        """Yields the one name under which results are filed."""
        yield self.name, None

    def samples(self) -> tf.data.Dataset:
        """Streams what would be stored of the images."""
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
