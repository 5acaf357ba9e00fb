"""The images that a recipe trains on and holds out."""

import pathlib

from scn_keras.datasets import has_split
from scn_keras.datasets.deals.set_registry import set_registry
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.datasets.identity.stored_images import stored_images
from scn_keras.training.input.dealt_patients import divide_images
from scn_keras.training.input.prepared_sets import prepared_builder, sample_ids
from scn_keras.training.recipe import Recipe


def training_images(
    recipe: Recipe, data_dir: str | pathlib.Path | None = None
) -> tuple[ImageTable, ImageTable]:
    """Returns the training and the held-out images of a recipe, to find them again.

    The second table is empty if the recipe holds no images out.

    Args:
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.

    Raises:
        FileNotFoundError: If the data set is not prepared.
        ValueError: If the training split is unknown.

    Example:

    ```python
    training, held_out = training_images(load_recipe("cephalogram_fast"))
    training.ids, training.digests
    ```
    """
    builder = prepared_builder(recipe.dataset, data_dir)
    ids = sample_ids(recipe.dataset, recipe.train_split, data_dir)
    images = stored_images(builder).select(ids)
    return divide_images(images, recipe, set_registry(builder))


def test_images(
    recipe: Recipe, data_dir: str | pathlib.Path | None = None
) -> tuple[ImageTable, bool]:
    """Returns the images of a recipe's test split, and whether it is published.

    The table is empty if the data set has no such split.

    Args:
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.
    """
    builder = prepared_builder(recipe.dataset, data_dir)
    if not has_split(builder, recipe.test_split):
        return ImageTable(), builder.PUBLISHED_SPLITS
    ids = sample_ids(recipe.dataset, recipe.test_split, data_dir)
    return stored_images(builder).select(ids), builder.PUBLISHED_SPLITS
