import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.datasets import LandmarkBuilder, has_split
from scn_keras.datasets._subsets import subset
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.stored_images import stored_images
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.input import selection
from scn_keras.training.input.split_images import training_images
from scn_keras.training.recipe import Recipe

# The name of the images that a recipe holds out of its training split.
HELD_OUT = "held_out"


class PreparedSplit:
    """The images of a prepared data set for an evaluation.

    Args:
        recipe: `Recipe` of the run.
        split: Str, a TFDS split, a subset of the builder, or `"held_out"` for the
            images that the recipe holds out of its training split; `None` for the
            recipe's `test_split` or, if the data set has no such split, for those.
        data_dir: The folder of prepared data sets.
        held_out: `ImageTable` of the images that a run has recorded as held out;
            `None` for those that its recipe holds out of the data set as it is now.

    Attributes:
        name: Str, the name of results on these images.
        dataset: Str, the data set with its version.
        builder: `LandmarkBuilder` with observers, subsets and the spacing rule.
        arguments: Sequence of str, the command-line arguments for these images.

    Raises:
        FileNotFoundError: If the data set is not prepared.
    """

    def __init__(
        self,
        recipe: Recipe,
        split: str | None = None,
        data_dir: str | pathlib.Path | None = None,
        held_out: ImageTable | None = None,
    ) -> None:
        self.recipe = recipe
        self._held_out = held_out
        self.data_dir = data_dir
        self.builder = data.prepared_builder(recipe.dataset, data_dir)
        self.name = split or _default_split(recipe, self.builder)
        self.dataset = self.builder.info.full_name
        where = [] if data_dir is None else ["--data-dir", str(data_dir)]
        self.arguments = ["--split", self.name, *where]

    @property
    def truths(self) -> tuple[str | None, ...]:
        """The truths with which predictions are compared.

        They are the observers, their mean, and other ground truths of the data set. A
        data set with one observer has the truth `None`.
        """
        builder = self.builder
        if not builder.OBSERVERS:
            return (None,)
        return (*builder.OBSERVERS, "mean", *builder.GROUND_TRUTHS)

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns the points `(N, D)` of a sample for one of the truths."""
        builder = self.builder
        if truth in builder.GROUND_TRUTHS:
            return np.asarray(sample[f"points_{truth}"], np.float64)
        # Only observers are averaged, neither predicted points nor ground truths.
        observed = {
            name: sample[name]
            for name in builder.point_features()
            if name.removeprefix("points_") not in builder.GROUND_TRUTHS
        }
        return np.asarray(selection.observed_points(observed, truth), np.float64)

    def scopes(self) -> Iterator[tuple[str, frozenset[str] | None]]:
        """Yields the split and its subsets, each with the ids of its images.

        The ids are `None` for all images.
        """
        subsets = self.builder.SUBSETS
        yield self.name, subsets.get(self.name, (None, None))[1]
        for name, (base, ids) in subsets.items():
            if base == self.name:
                yield name, ids

    def table(self) -> ImageTable:
        """Returns the images with what identifies them."""
        if self.name != HELD_OUT:
            ids = data.sample_ids(self.recipe.dataset, self.name, self.data_dir)
            return stored_images(self.builder).select(ids)
        if self._held_out is None:
            return training_images(self.recipe, self.data_dir)[1]
        recorded = {*self._held_out.digests}
        split = self.recipe.train_split
        images = stored_images(self.builder).select(
            data.sample_ids(self.recipe.dataset, split, self.data_dir)
        )
        pairs = zip(images.ids, images.digests, strict=True)
        return images.select([id for id, digest in pairs if digest in recorded])

    def permits_seen(self, recipe: Recipe) -> bool:
        """Returns whether images of the training are evaluated, too."""
        return self.builder.PUBLISHED_SPLITS or self.name == recipe.train_split

    def samples(self) -> tf.data.Dataset:
        """Returns the stored samples.

        Raises:
            ValueError: If the split is unknown, or the recipe holds no images out.
        """
        if self.name != HELD_OUT:
            return data.load_samples(self.recipe.dataset, self.name, self.data_dir)
        ids = self.table().ids
        if not ids:
            raise ValueError(
                "The recipe holds no images out of its training split. Received: "
                f"split={self.name!r}"
            )
        return subset(self.builder.read_split(self.recipe.train_split), frozenset(ids))

    def find(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Returns single samples by their ids."""
        split = self.recipe.train_split if self.name == HELD_OUT else self.name
        return data.find_samples(self.recipe.dataset, split, ids, self.data_dir)


def _default_split(recipe: Recipe, builder: LandmarkBuilder) -> str:
    holds_out = recipe.validation > 0.0 or recipe.fold is not None
    if holds_out and not has_split(builder, recipe.test_split):
        return HELD_OUT
    return recipe.test_split
