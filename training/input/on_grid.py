"""Resampling of reduced images to training elements, repeated in every step.

As in `scn_keras.warp`, every function takes an array namespace `xp`, so that the
pipeline of `tf.data` and batches of arrays on any backend share it. Leading axes
(`...`) are batch axes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.inference.grid_grey_values import clip_on_grid, normalize_on_grid
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.inference.reduced_image import ReducedImage, to_reduced
from scn_keras.training.augmentation import Augmentation, swap_pairs
from scn_keras.training.recipe import Recipe


def on_grid(
    reduced: ReducedImage,
    sizes: Any,
    affine: Any,
    points: Any,
    recipe: Recipe,
    drawn: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    xp: Any = warp.KERAS,
    image_of: Callable[..., Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Resamples a sample, or a batch of them, to the grid by one interpolation.

    Args:
        reduced: `ReducedImage` whose image is flat, `(..., n)`, with a border.
        sizes: int32 `(..., D)`, the sizes of the image with its border.
        affine: float32 `(..., D + 1, D + 1)`, from the source image to millimetres.
        points: float32 `(..., N, D)`, in pixels of the source image.
        recipe: `Recipe`.
        drawn: Dict, the result of `recipe.augmentation.draw`, or `None`.
        pairs: Pairs of landmarks that are exchanged in mirrored images.
        xp: The array namespace, see `scn_keras.array_api`.
        image_of: Callable with the arguments of `image_on_grid` except `xp`, such as a
            compiled version of it; `None` for `image_on_grid`.

    Returns:
        `(image, {"points", "affine"})`: image `(..., *grid, 1)`, points in pixels of
        the grid, affine from the grid to millimetres (without the elastic part).
    """
    grid, to_source, elastic = recipe.grid, reduced.grid_to_source, None
    if drawn is not None and recipe.augmentation is not None:
        augmentation = recipe.augmentation
        linear = to_source[..., :-1, :-1]
        scale = _lengths(linear, xp)
        aspect = warp.aspect_of(affine, xp)
        spacing = _lengths(linear * aspect[..., :, None], xp)
        motion = augmentation.affine(drawn, grid, spacing, reduced.size / scale, xp)
        to_source = xp.contract(to_source, motion)
        elastic = augmentation.elastic_displacements(drawn, grid, spacing, xp)
    image_of = image_of or functools.partial(image_on_grid, xp=xp)
    image = image_of(
        reduced.image,
        sizes,
        to_reduced(reduced, to_source, xp),
        elastic,
        drawn,
        recipe.image_to_grid,
        recipe.augmentation,
    )
    grid_points = warp.invert_map(to_source, points, grid, elastic, xp)
    if drawn is not None and "flip" in drawn:
        grid_points = swap_pairs(grid_points, drawn["flip"], pairs, xp)
    return image, {"points": grid_points, "affine": xp.contract(affine, to_source)}


def part_of_grid(
    element: tuple[Any, dict[str, Any]],
    start: Any,
    window: Sequence[int],
    xp: Any = warp.KERAS,
) -> tuple[Any, dict[str, Any]]:
    """Crops a batch of training elements to a window of the grid.

    Args:
        element: A batch, the result of `on_grid`.
        start: int32 `(D,)`, the first pixel of the window in array order.
        window: Sequence of D ints, the sizes of the window in array order.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        The batch for the window: points in its pixels, affine from it to millimetres.
    """
    image, labels = element
    d = len(window)
    pixels = (slice(start[k], start[k] + window[k]) for k in range(d))
    image = image[(slice(None), *pixels)]
    shift = xp.cast(start[::-1], "float32")
    affine = labels["affine"]
    offset = xp.sum(affine[..., :d] * shift, axis=-1)
    affine = affine + offset[..., None] * np.eye(d + 1, dtype="float32")[d]
    return image, {"points": labels["points"] - shift, "affine": affine}


def places_of(window: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """Returns the number of positions of a window along each axis of a grid."""
    return np.subtract(grid, window) + 1


def image_on_grid(
    flat: Any,
    sizes: Any,
    affine: Any,
    elastic: Any,
    drawn: Mapping[str, Any] | None,
    image_to_grid: ImageToGrid,
    augmentation: Augmentation | None,
    xp: Any,
) -> Any:
    """Interpolates flat images and transforms their grey values, see `on_grid`."""
    coordinates = warp.sampling_grid(affine, image_to_grid.grid, elastic, xp)
    image = warp.interpolate(flat, coordinates, xp, sizes)
    image = normalize_on_grid(image, image_to_grid, xp)
    if drawn is not None and augmentation is not None:
        image = augmentation.intensity(drawn, image, xp)
    return clip_on_grid(image, image_to_grid, xp)[..., None]


def _lengths(columns, xp):
    return xp.sqrt(xp.sum(columns * columns, axis=-2))
