"""From images of any size to points in their own pixels, batch by batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.geometry import apply_affine
from scn_keras.models import LandmarkModel
from scn_keras.training import preprocessing
from scn_keras.training.recipe import Recipe


def to_network(
    image: tf.Tensor, aspect: tf.Tensor, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings one image to the grid; also the function of the exported graph.

    Args:
        image: float32 `(height, width, 1)` from 0 to 1.
        aspect: float32 `(2,)`, the spacing (x, y) up to a factor.
        recipe: `Recipe`.

    Returns:
        `(grid image, grid_to_source)`, `(rows, columns, 1)` and `(3, 3)`.
    """
    reduced = preprocessing.reduce_image(
        image, recipe.grid, aspect, recipe.normalization
    )
    return preprocessing.to_grid(reduced, recipe.grid), reduced.grid_to_source


def locate(
    model: LandmarkModel,
    images: tf.data.Dataset,
    recipe: Recipe,
    batch_size: int = 4,
) -> Iterator[dict[str, Any]]:
    """Finds the landmarks of a stream of images, keeping no heatmaps.

    Args:
        model: `LandmarkModel`.
        images: Dataset of dicts with `image` `(height, width, 1)`, integers or
            floats from 0 to 1, and `affine` `(3, 3)`; whatever else they hold is
            handed through.
        recipe: `Recipe`.
        batch_size: Int.

    Yields:
        The dict of each image, in order, as NumPy arrays: without `image`, with
        `points_px` `(N, 2)` in pixels of the image, `score` `(N,)`, `covariance_px2`
        `(N, 2, 2)`, and `grid_image` `(rows, columns, 1)` and `grid_to_source`
        `(3, 3)` for pictures.
    """

    def prepare(sample):
        rest = {name: value for name, value in sample.items() if name != "image"}
        grid_image, grid_to_source = to_network(
            preprocessing.to_unit_range(sample["image"]),
            preprocessing.aspect_of(sample["affine"]),
            recipe,
        )
        return {**rest, "grid_image": grid_image, "grid_to_source": grid_to_source}

    batches = images.map(prepare, tf.data.AUTOTUNE).batch(batch_size)
    for batch in batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        found = model.localizer.predict_on_batch(batch["grid_image"])
        found = {name: np.asarray(value) for name, value in found.items()}
        to_source = batch["grid_to_source"]
        linear = to_source[:, None, :2, :2]
        covariance = linear @ found["covariance"] @ np.swapaxes(linear, -1, -2)
        batch = {
            **batch,
            "points_px": apply_affine(to_source, found["points"]),
            "score": found["score"],
            "covariance_px2": covariance,
        }
        for row in range(len(to_source)):
            yield {name: value[row] for name, value in batch.items()}
