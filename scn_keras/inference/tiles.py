"""Images that are longer than the grid, located in several grids along one axis."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scn_keras.array_api import NUMPY
from scn_keras.inference.decode import grey_values
from scn_keras.inference.image_to_grid import ImageToGrid


def tile_count(
    size: tf.Tensor, scale: tf.Tensor, image_to_grid: ImageToGrid
) -> tf.Tensor:
    """Returns the number of grids that cover an image along the first axis, int32.

    Args:
        size: float32 `(D,)`, the size of the image in x, y(, z).
        scale: float32 `(D,)`, pixels of the image per pixel of the grid.
        image_to_grid: `ImageToGrid` with `tile_step`.
    """
    excess = size[-1] / scale[-1] - float(image_to_grid.grid[0])
    # A spacing of 2 mm may be stored as 1.9999999.
    further = tf.math.ceil(excess / float(image_to_grid.tile_step or 1) - 1e-3)
    return 1 + tf.maximum(tf.cast(further, tf.int32), 0)


def tile_places(
    place: tf.Tensor,
    size: tf.Tensor,
    image_to_grid: ImageToGrid,
    length: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the placements of the grids that cover an image along the first axis.

    The grids are `tile_step` pixels apart, symmetric about the centre of the image.

    Args:
        place: float32 `(D + 1, D + 1)`, diagonal, from the central grid to the image.
        size: float32 `(D,)`, the size of the image in x, y(, z).
        image_to_grid: `ImageToGrid` with `tile_step`.
        length: int32 scalar, the number of placements, of which those beyond the image
            are equal to the last one; `None` for those that are required.

    Returns:
        float32 `(T, D + 1, D + 1)`, from small to large coordinates.
    """
    d, step = image_to_grid.dimensions, float(image_to_grid.tile_step or 1)
    scale = tf.linalg.diag_part(place)[:d]
    count = tile_count(size, scale, image_to_grid)
    index = tf.range(count if length is None else length)
    index = tf.cast(tf.minimum(index, count - 1), tf.float32)
    shift = step * (index - 0.5 * tf.cast(count - 1, tf.float32)) * scale[-1]
    last = np.zeros((d + 1, d + 1), "float32")
    last[d - 1, d] = 1.0
    return place + shift[:, None, None] * last


def best_of_tiles(
    peaks: Mapping[str, np.ndarray], step: int
) -> tuple[dict[str, np.ndarray], int]:
    """Takes each landmark from the tile with its highest score.

    This is the maximum of all heatmaps that are merged by their maxima.

    Args:
        peaks: Output of a localizer with a first axis of T tiles: `points` `(T, N, D)`,
            `score` `(T, N)`, `covariance` `(T, N, D, D)`.
        step: Int, the distance of neighbouring tiles in pixels of the grid.

    Returns:
        `(peaks, tile)`: the peaks without the axis of tiles, in pixels of the grid of
        `tile`, which has the highest sum of scores.
    """
    score = np.asarray(peaks["score"])
    best, tile = np.argmax(score, axis=0), int(np.argmax(np.sum(score, axis=1)))
    landmarks = np.arange(score.shape[1])
    merged = {
        name: np.array(np.asarray(value)[best, landmarks])
        for name, value in peaks.items()
    }
    merged["points"][:, -1] += (best - tile) * float(step)
    return merged, tile


def locate_in_tiles(
    locator: Any, samples: tf.data.Dataset, keep_image: bool
) -> Iterator[dict[str, Any]]:
    """Localises the landmarks of a stream of images, see `Locator.locate`."""
    settings = locator.image_to_grid
    for sample in samples.prefetch(1).as_numpy_iterator():
        dropped = () if keep_image else ("image",)
        rest = {key: value for key, value in sample.items() if key not in dropped}
        grey = grey_values(tf.constant(sample["image"]), settings.normalization)
        affine, place = tf.constant(sample["affine"]), sample.get("grid_to_source")
        images, to_source = locator.to_grid(grey, affine, place)
        # One by one, since each takes the memory of a training step.
        tiles = [
            locator.model.localizer.predict_on_batch(image[None].numpy())
            for image in images
        ]
        peaks = {
            name: np.concatenate(
                [keras.ops.convert_to_numpy(tile[name]) for tile in tiles]
            )
            for name in tiles[0]
        }
        merged, tile = best_of_tiles(peaks, settings.tile_step)
        place = to_source[tile].numpy()
        outputs = locator.describe(
            {name: value[None, None] for name, value in merged.items()},
            place[None, None],
            rest["affine"][None],
            NUMPY,
        )
        yield {
            **rest,
            "grid_image": images[tile].numpy(),
            "grid_to_source": place,
            **{k: keras.ops.convert_to_numpy(v)[0] for k, v in outputs.items()},
        }
