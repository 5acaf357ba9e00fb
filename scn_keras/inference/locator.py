"""From images of any size to points in their own pixels, batch by batch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from scn_keras import warp
from scn_keras.geometry import (
    apply_affine,
    apply_to_covariance,
    has_usable_spacing,
    mixture,
)
from scn_keras.inference import decode, resample
from scn_keras.inference.calibration import Calibration, uncertainty
from scn_keras.training.recipe import Recipe

if TYPE_CHECKING:
    from scn_keras.inference.coarse_to_fine import Placement

# Turns in degrees and magnifications under which an image is looked at again.
_VIEWS = ((0.0, 1.0), (3.0, 1.0), (-3.0, 1.0), (0.0, 1.05), (0.0, 1.0 / 1.05))


class Locator(Protocol):
    """What finds points: a `LandmarkModel`, a `LandmarkEnsemble` or a `GridModel`.

    Of its `localizer`, `predict_on_batch` is called.
    """

    @property
    def localizer(self) -> Any: ...


def to_network(
    image: tf.Tensor, spacing: tf.Tensor, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings one image to the grid.

    Args:
        image: float32 `(*sizes, 1)` from 0 to 1, or as stored where the recipe
            normalises by a window, see `decode.grey_values`.
        spacing: float32 `(D,)`, mm per pixel in x, y(, z); 0 where not known.
        recipe: `Recipe`.

    Returns:
        `(grid image, grid_to_source)`, `(*grid, 1)` and `(D + 1, D + 1)`.
    """
    images, to_source = to_views(image, spacing, recipe)
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
    calibration: Calibration | None = None,
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
        calibration: `Calibration` or `None`: `Run.calibration`.

    Yields:
        The dict of each image, in order, as NumPy arrays: without `image`, with
        `points_px` `(N, D)` in pixels of the image, `score` `(N,)`, `covariance_px2`
        `(N, D, D)` (of several views, the spread among them included), and
        `grid_image` `(*grid, 1)` and `grid_to_source` `(D + 1, D + 1)` for pictures.
        With a calibration also `radius90_px` and `radius90_mm` `(N,)` (NaN without a
        usable spacing), `present` `(N,)` and `trusted`, see `uncertainty`.
    """

    def prepare(sample):
        dropped = () if keep_image else ("image",)
        rest = {name: value for name, value in sample.items() if name not in dropped}
        grid_images, to_source = to_views(
            decode.grey_values(sample["image"], recipe.normalization),
            usable_spacing(sample["affine"], TENSORFLOW),
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
        points, score, covariance = mean_of_views(found, views)
        to_source = to_source[:, 0]
        batch = {
            **rest,
            "grid_image": grid_images[:, 0],
            "grid_to_source": to_source,
            "points_px": apply_affine(to_source, points),
            "score": score,
            "covariance_px2": apply_to_covariance(to_source, covariance),
        }
        if calibration is not None:
            usable = has_usable_spacing(rest["affine"], NUMPY)[:, None, None]
            to_mm = np.where(usable, rest["affine"], math.nan) @ to_source
            peaks = points, score, covariance
            in_px = uncertainty(calibration, *peaks, to_source)
            in_mm = uncertainty(calibration, *peaks, to_mm)
            says = {
                "radius90_px": in_px["radius90"],
                "radius90_mm": in_mm["radius90"],
                "present": in_px["present"],
                "trusted": in_px["trusted"],
            }
            batch |= {k: keras.ops.convert_to_numpy(v) for k, v in says.items()}
        for row in range(rows):
            yield {name: value[row] for name, value in batch.items()}


def to_views(
    image: tf.Tensor,
    spacing: tf.Tensor,
    recipe: Recipe,
    views: np.ndarray | None = None,
    place: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings one image to the grid in V views; also in the exported graph.

    Args:
        image, spacing, recipe: See `to_network`.
        views: What `test_time_views` returned; `None` for the image as it is.
        place: float32 `(D + 1, D + 1)`, from the grid to the image; `None` for where
            the recipe lays it.

    Returns:
        `(grid images, grid_to_source)`, `(V, *grid, 1)` and `(V, D + 1, D + 1)`.
    """
    reduced = resample.reduce_image(
        image,
        recipe.grid,
        spacing,
        recipe.normalization,
        recipe.normalization_limits,
        recipe.grid_spacing,
    )
    place = reduced.grid_to_source if place is None else place
    to_source = (
        [place]
        if views is None
        else [warp.sum_of_products(place, view) for view in views]
    )
    images = [resample.resample_to_grid(reduced, recipe.grid, one) for one in to_source]
    return tf.stack(images), tf.stack(to_source)


def mean_of_views(
    found: Mapping[str, Any], views: np.ndarray | None, xp: Any = NUMPY
) -> tuple[Any, Any, Any]:
    """Returns points, score and covariance over all views of each image.

    Those of `mixture`, so the spread among the views is in the covariances. Also in the
    exported graph.

    Args:
        found: What a localizer gives, with an axis of V views after that of images:
            `points` `(B, V, N, D)`, `score`, `covariance`.
        views: See `to_views`.
        xp: The library, see `scn_keras.warp`.

    Returns:
        `(B, N, D)`, `(B, N)` and `(B, N, D, D)`, in pixels of the grid of the first
        view.
    """
    points, score, covariance = (
        found[name] for name in ("points", "score", "covariance")
    )
    if views is None:
        return points[:, 0], score[:, 0], covariance[:, 0]
    points, covariance = (
        apply_affine(views, points),
        apply_to_covariance(views, covariance),
    )
    return mixture(points, score, covariance, xp)
