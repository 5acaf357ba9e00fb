import functools
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from scn_keras.datasets.deals.set_registry import set_registry
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.stored_images import stored_images
from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.inference.patient_axes import sample_in_grid_axes
from scn_keras.training.input import pipeline, selection
from scn_keras.training.input.dealt_patients import held_out_patients
from scn_keras.training.input.placed_samples import place_samples
from scn_keras.training.input.prepared_sets import orientation_of, prepared_builder
from scn_keras.training.input.split_images import training_images
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


class StoredSource:
    """The input of `fit` from a prepared data set, by `tf.data` on any backend.

    Args:
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.

    Attributes:
        schema: `LandmarkSchema`.
        orientation: Str, see `prepared_sets.orientation_of`.
        validation: The held-out images, resampled to the grid, in batches; or `None`.
        images: Two `ImageTable`, of the training and of the held-out images.

    Raises:
        FileNotFoundError: If the data set is not prepared.
        ValueError: If the recipe does not fit the data.
    """

    def __init__(
        self, recipe: Recipe, data_dir: str | pathlib.Path | None = None
    ) -> None:
        builder = prepared_builder(recipe.dataset, data_dir)
        self.schema = builder.SCHEMA
        self.orientation = orientation_of(builder)
        self._recipe = recipe
        self._data_dir = data_dir
        self._samples, self._held_out = training_samples(recipe, data_dir)
        self._keep_validation()

    @functools.cached_property
    def images(self) -> tuple[ImageTable, ImageTable]:
        return training_images(self._recipe, self._data_dir)

    def place(self, run: Run) -> None:
        """Places the grid by the coarse stage of a run, see `placed_samples`."""
        self._samples, self._held_out = place_samples(
            run, self._samples, self._held_out
        )
        self._keep_validation()

    def training(self, first_step: int = 0) -> tf.data.Dataset:
        """Returns endless batches, see `pipeline.training_batches`."""
        return pipeline.training_batches(
            self._samples, self._recipe, first_step, self.schema
        )

    def plain(self) -> tf.data.Dataset:
        """Returns the training images without augmentation, in order."""
        return pipeline.evaluation_batches(self._samples, self._recipe)

    def _keep_validation(self):
        self.validation = None
        if self._held_out is not None:
            batches = pipeline.evaluation_batches(self._held_out, self._recipe)
            self.validation = batches.cache()


def training_samples(
    recipe: Recipe, data_dir: str | pathlib.Path | None = None
) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Returns a recipe's training and validation samples, split by patient.

    Validation samples are `None` if the recipe holds no images out.

    Raises:
        ValueError: If the recipe does not fit the data.
    """
    builder = prepared_builder(recipe.dataset, data_dir)
    if builder.SPACING_FROM_POINTS:
        selection.refuse_millimetres(recipe, builder.SPACING_RULE)
    selection.mirror_pairs(recipe, builder.SCHEMA)
    truths = builder.GROUND_TRUTHS
    selection.require_observer(builder.info.features, truths, recipe)
    samples = builder.read_split(recipe.train_split).map(
        lambda sample: sample_in_grid_axes(
            selection.without_other_truths(sample, truths, recipe),
            recipe.image_to_grid,
        )
    )
    ids, groups, points = _ids_groups_and_points(builder, recipe)
    if recipe.validation == 0.0 and recipe.fold is None:
        selection.require_points(points, builder.SCHEMA.names, recipe)
        return samples, None
    images = stored_images(builder).select(ids)
    validation = held_out_patients(images, recipe, set_registry(builder))
    training = {*groups} - validation
    selection.require_points(
        [p for p, group in zip(points, groups, strict=True) if group in training],
        builder.SCHEMA.names,
        recipe,
    )
    # Without a known size, Keras warns that the data set ran out of data.
    size = tf.data.experimental.assert_cardinality(
        sum(group in validation for group in groups)
    )
    return (
        pipeline.of_groups(samples, training),
        pipeline.of_groups(samples, validation).apply(size),
    )


def _ids_groups_and_points(
    builder: LandmarkBuilder, recipe: Recipe
) -> tuple[list[str], list[str], list[dict[str, np.ndarray]]]:
    """Returns id, patient and points of each image, without decoding images."""
    samples = builder.read_split(
        recipe.train_split, {"image": tfds.decode.SkipDecoding()}
    )
    ids, groups, points = [], [], []
    for sample in samples.map(_without_image).as_numpy_iterator():
        ids.append(sample.pop("id").decode())
        groups.append(sample.pop("group").decode())
        points.append(
            selection.without_other_truths(sample, builder.GROUND_TRUTHS, recipe)
        )
    return ids, groups, points


def _without_image(sample):
    return {
        name: value
        for name, value in sample.items()
        if name in ("id", "group") or name.startswith("points")
    }
