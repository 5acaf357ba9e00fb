"""The images of an evaluation, from a prepared data set or from a folder."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.training.recipe import Recipe


class EvaluatedImages(Protocol):
    """Images on which a model is evaluated, see `PreparedSplit` and `FolderSplit`.

    Attributes:
        name: Str, the name of results on these images.
        dataset: Str, the data set with its version.
    """

    name: str
    dataset: str

    @property
    def truths(self) -> tuple[str | None, ...]:
        """The truths with which predictions are compared."""

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns the points `(N, D)` of a sample, NaN for missing ones."""

    def table(self) -> ImageTable:
        """Returns the images with what identifies them."""

    def permits_seen(self, recipe: Recipe) -> bool:
        """Returns whether images of the training of a recipe are evaluated, too.

        They are on the training split, and in published splits, where their repeats
        cannot be helped. The results are marked.
        """

    def samples(self) -> tf.data.Dataset:
        """Returns dicts of `id`, `group`, `image` `(*sizes, 1)` and `affine`."""
