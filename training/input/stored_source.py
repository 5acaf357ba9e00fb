import pathlib

import tensorflow as tf

from scn_keras.training.input import pipeline
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input.placed_samples import place_samples
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


class StoredSource:
    """The input of `fit` from a prepared data set, by `tf.data` on any backend.

    Args:
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.

    Attributes:
        schema: `LandmarkSchema`.
        validation: The held-out images, resampled to the grid, in batches; or `None`.

    Raises:
        FileNotFoundError: If the data set is not prepared.
        ValueError: If the recipe does not fit the data.
    """

    def __init__(
        self, recipe: Recipe, data_dir: str | pathlib.Path | None = None
    ) -> None:
        self.schema = data.prepared_builder(recipe.dataset, data_dir).SCHEMA
        self._recipe = recipe
        self._samples, self._held_out = data.training_samples(recipe, data_dir)
        self._keep_validation()

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
