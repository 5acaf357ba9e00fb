"""From images of any size to points in their own pixels, batch by batch."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from scn_keras.geometry import apply_affine
from scn_keras.training import preprocessing
from scn_keras.training.recipe import Recipe

if TYPE_CHECKING:
    from scn_keras.training.placement import Placement

# Turns in degrees and magnifications under which an image is looked at again.
_VIEWS = ((0.0, 1.0), (3.0, 1.0), (-3.0, 1.0), (0.0, 1.05), (0.0, 1.0 / 1.05))


class Locator(Protocol):
    """What finds points: a `LandmarkModel` or a `LandmarkEnsemble`."""

    @property
    def localizer(self) -> keras.Model: ...


def to_network(
    image: tf.Tensor, spacing: tf.Tensor, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings one image to the grid; also the function of the exported graph.

    Args:
        image: float32 `(*sizes, 1)` from 0 to 1, or as stored where the recipe
            normalises by a window, see `preprocessing.grey_values`.
        spacing: float32 `(D,)`, mm per pixel in x, y(, z); 0 where not known.
        recipe: `Recipe`.

    Returns:
        `(grid image, grid_to_source)`, `(*grid, 1)` and `(D + 1, D + 1)`.
    """
    images, to_source = _to_views(image, spacing, recipe, None, None)
    return images[0], to_source[0]


def test_time_views(grid: Sequence[int]) -> np.ndarray:
    """Returns the maps of test-time augmentation, the identity first.

    Each takes a grid turned about its centre (in the plane of x and y) or magnified
    to the grid itself: by 3 degrees either way and by 5 % either way.

    Args:
        grid: Sizes in array order.

    Returns:
        float32 array `(5, D + 1, D + 1)`.
    """
    d = len(grid)
    center = (np.array(grid[::-1]) - 1.0) / 2.0
    views = []
    for degrees, scale in _VIEWS:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        view = np.eye(d + 1)
        view[:2, :2] = [[cos, -sin], [sin, cos]]
        view[:d, :d] /= scale
        view[:d, d] = center - view[:d, :d] @ center
        views.append(view)
    return np.array(views, np.float32)


def locate(
    model: Locator,
    images: tf.data.Dataset,
    recipe: Recipe,
    batch_size: int = 4,
    views: np.ndarray | None = None,
    placement: "Placement | None" = None,
    keep_image: bool = False,
) -> Iterator[dict[str, Any]]:
    """Finds the landmarks of a stream of images, keeping no heatmaps.

    Args:
        model: `LandmarkModel` or `LandmarkEnsemble`.
        images: Dataset of dicts with `image` `(*sizes, 1)`, integers or floats from
            0 to 1, and `affine` `(D + 1, D + 1)`; whatever else they hold is handed
            through. `grid_to_source` `(D + 1, D + 1)`, if it is there, says where the
            grid lies.
        recipe: `Recipe`.
        batch_size: Int.
        views: What `test_time_views` returned, for the mean of the points found in
            all views, each weighted by its score; `None` for the image as it is.
        placement: `Placement`, which finds that place for a recipe with a coarse
            part: `Run.placement`.
        keep_image: Bool, whether `image` is handed through, too, which takes images
            of one size or batches of one.

    Yields:
        The dict of each image, in order, as NumPy arrays: without `image`, with
        `points_px` `(N, D)` in pixels of the image, `score` `(N,)`, `covariance_px2`
        `(N, D, D)` (of several views, the spread among them included), and
        `grid_image` `(*grid, 1)` and `grid_to_source` `(D + 1, D + 1)` for pictures.
    """

    def prepare(sample):
        dropped = () if keep_image else ("image",)
        rest = {name: value for name, value in sample.items() if name not in dropped}
        grid_images, to_source = _to_views(
            preprocessing.grey_values(sample["image"], recipe.normalization),
            preprocessing.spacing_of(sample["affine"]),
            recipe,
            views,
            sample.get("grid_to_source"),
        )
        return rest, grid_images, to_source

    if placement is not None:
        images = placement.again(placement.by_coarse(images), model)
    batches = images.map(prepare, tf.data.AUTOTUNE).batch(batch_size)
    for rest, grid_images, to_source in batches.prefetch(
        tf.data.AUTOTUNE
    ).as_numpy_iterator():
        # Images and their views, one after the other, as the network takes them.
        rows, count = grid_images.shape[:2]
        found = model.localizer.predict_on_batch(
            grid_images.reshape(-1, *grid_images.shape[2:])
        )
        found = {
            name: np.asarray(value).reshape(rows, count, *value.shape[1:])
            for name, value in found.items()
        }
        linear = to_source[:, :, None, :-1, :-1]
        points, score, covariance = _mean_of_views(
            apply_affine(to_source, found["points"]),
            found["score"],
            linear @ found["covariance"] @ np.swapaxes(linear, -1, -2),
        )
        batch = {
            **rest,
            "grid_image": grid_images[:, 0],
            "grid_to_source": to_source[:, 0],
            "points_px": points,
            "score": score,
            "covariance_px2": covariance,
        }
        for row in range(rows):
            yield {name: value[row] for name, value in batch.items()}


def _to_views(image, spacing, recipe, views, place):
    reduced = preprocessing.reduce_image(
        image,
        recipe.grid,
        spacing,
        recipe.normalization,
        recipe.normalization_limits,
        recipe.grid_spacing,
    )
    place = reduced.grid_to_source if place is None else place
    to_source = [place] if views is None else [place @ view for view in views]
    images = [preprocessing.to_grid(reduced, recipe.grid, one) for one in to_source]
    return tf.stack(images), tf.stack(to_source)


def _mean_of_views(points, score, covariance):
    """Mean over axis 1, weighted by score, and the mixture's covariance."""
    # A landmark without any score is still somewhere.
    weight = (score + 1e-6)[..., None]
    weight = weight / weight.sum(axis=1, keepdims=True)
    mean = (weight * points).sum(axis=1)
    apart = points - mean[:, None]
    covariance = covariance + apart[..., :, None] * apart[..., None, :]
    return (
        mean,
        score.mean(axis=1),
        (weight[..., None] * covariance).sum(axis=1),
    )
