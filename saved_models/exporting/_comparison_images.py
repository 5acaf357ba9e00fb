"""Images for the quantisation of a model and the measurement of its accuracy."""

import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.datasets import DatasetFolderError
from scn_keras.inference.decode import grey_values
from scn_keras.inference.locator import to_views
from scn_keras.saved_models.predicting.file_locators import grey_image, undecodable
from scn_keras.saved_models.predicting.image_source import (
    find_files,
    read_image_source,
)
from scn_keras.training.evaluation.evaluate import split_of
from scn_keras.training.evaluation.evaluated_images import EvaluatedImages
from scn_keras.training.evaluation.folder_split import FolderSplit
from scn_keras.training.evaluation.prepared_split import HELD_OUT, PreparedSplit
from scn_keras.training.input.stored_source import training_samples
from scn_keras.training.run import Run

# More images hardly change the ranges of activations.
_MAX_QUANTIZATION_IMAGES = 32


class ImageFiles:
    """Image files without points, as the images of an evaluation.

    Args:
        run: `Run`.
        folder: Path, the folder of the images. Subfolders are included.

    Attributes:
        name: Str, the name of the folder.

    Raises:
        ValueError: If the folder has no images, or the run does not accept one.
    """

    truths = (None,)

    def __init__(self, run: Run, folder: pathlib.Path) -> None:
        self.name = folder.name
        self._image_to_grid = run.recipe.image_to_grid
        self._num_landmarks = len(run.schema.names)
        self._files, problems = find_files([folder])
        for file in self._files:
            try:
                self._sample(file)
            except (ValueError, OSError) as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns NaN for each landmark, because there are no true points."""
        del sample, truth
        return np.full((self._num_landmarks, self._image_to_grid.dimensions), np.nan)

    def samples(self) -> tf.data.Dataset:
        """Returns the images with their affines."""
        d = self._image_to_grid.dimensions
        text = tf.TensorSpec((), tf.string)
        samples = tf.data.Dataset.from_generator(
            lambda: map(self._sample, self._files),
            output_signature={
                "id": text,
                "group": text,
                "image": tf.TensorSpec((*[None] * d, 1), tf.float32),
                "affine": tf.TensorSpec((d + 1, d + 1), tf.float32),
            },
        )
        size = tf.data.experimental.assert_cardinality(len(self._files))
        return samples.apply(size)

    def _source(self, file):
        return read_image_source(
            file,
            None,
            self._image_to_grid.dimensions,
            self._image_to_grid.uses_stored_values,
        )

    def _sample(self, file):
        source = self._source(file)
        try:
            image = grey_image(source, self._image_to_grid)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(undecodable(source, error)) from error
        return {
            "id": str(file).encode(),
            "group": str(file).encode(),
            "image": image.numpy(),
            "affine": source.affine.astype(np.float32),
        }


def comparison_images(
    run: Run,
    folder: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
) -> EvaluatedImages:
    """Returns the images on which a model of reduced precision is compared with a run.

    Without a folder, they are the images held out of the run's training split. If there
    are none, or if the run is an ensemble, whose members were trained with each other's
    held-out images, they are those of the test split.

    Args:
        run: `Run`.
        folder: The folder of other images, with points as for `landmark_folder` or
            without points.
        data_dir: The folder of prepared data sets.

    Raises:
        FileNotFoundError: If the folder does not exist or the data set is not prepared.
        ValueError: If the run does not accept an image of the folder.
    """
    if folder is not None:
        return _images_of(run, pathlib.Path(folder).expanduser())
    recipe = run.recipe
    held_out = recipe.validation > 0.0 or recipe.fold is not None
    try:
        return split_of(
            run, HELD_OUT if held_out and not run.is_ensemble else None, data_dir
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Reduced precision requires images to compare with float32. {error} "
            "Alternatively, name a folder of such images: `images`, or --images FOLDER."
        ) from error


def _images_of(run, folder):
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The folder of images does not exist. Received: images={str(folder)!r}"
        )
    try:
        return FolderSplit(folder, run.schema, len(run.recipe.grid))
    except DatasetFolderError as error:
        reason = error.problems[0]
    except ValueError as error:
        reason = str(error)
    images = ImageFiles(run, folder)
    warnings.warn(
        f"The points of {folder} are not used, so that only the movement of points by "
        f"the reduced precision is measured, not its error. The reason: {reason}",
        stacklevel=3,
    )
    return images


def quantization_images(
    run: Run, images: EvaluatedImages, data_dir: str | pathlib.Path | None = None
) -> Iterator[np.ndarray]:
    """Yields up to 32 images on the grid, from which ranges of activations are taken.

    Args:
        run: `Run`.
        images: The images of the comparison. Those of a folder are used; otherwise the
            training images of the run are used.
        data_dir: The folder of prepared data sets.

    Returns:
        Iterator of float32 arrays `(1, *grid, 1)`.
    """
    if isinstance(images, PreparedSplit):
        samples, _ = training_samples(run.recipe, data_dir)
    else:
        samples = images.samples()
    image_to_grid = run.recipe.image_to_grid
    for sample in samples.take(_MAX_QUANTIZATION_IMAGES):
        grey = grey_values(sample["image"], image_to_grid.normalization)
        on_grid, _ = to_views(grey, sample["affine"], image_to_grid)
        yield on_grid.numpy()
