"""From a reduced image to a training element: what is done anew at every step.

As `scn_keras.warp`, every function takes the library as `xp`: the pipeline of
`tf.data` and batches of arrays on any backend share it. Leading axes (`...`) are
batches.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
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
    """Brings a sample, or a batch of them, to the grid, in one interpolation.

    Args:
        reduced: `ReducedImage` whose image is flat, `(..., n)`, and has a border.
        sizes: int32 `(..., D)`, the sizes of the image with its border.
        affine: float32 `(..., D + 1, D + 1)`, source image to millimetres.
        points: float32 `(..., N, D)`, in pixels of the source image.
        recipe: `Recipe`.
        drawn: What `recipe.augmentation.draw` drew, or `None`.
        pairs: Pairs of landmarks that change places in a mirror image.
        xp: The library, see `scn_keras.warp`.
        image_of: What does as `image_on_grid`, `xp` aside, for example compiled.

    Returns:
        `(image, {"points", "affine"})`: image `(..., *grid, 1)`, points in pixels of
        the grid, affine from them to millimetres (without the elastic part, which is
        no affine).
    """
    grid, to_source, elastic = recipe.grid, reduced.grid_to_source, None
    if drawn is not None and recipe.augmentation is not None:
        augmentation = recipe.augmentation
        linear = to_source[..., :-1, :-1]
        scale = _lengths(linear, xp)
        aspect = warp.aspect_of(affine, xp)
        spacing = _lengths(linear * aspect[..., :, None], xp)
        moved = augmentation.affine(drawn, grid, spacing, reduced.size / scale, xp)
        to_source = xp.contract(to_source, moved)
        elastic = augmentation.elastic_displacements(drawn, grid, spacing, xp)
    image_of = image_of or functools.partial(image_on_grid, xp=xp)
    image = image_of(
        reduced.image,
        sizes,
        to_reduced(reduced, to_source, xp),
        elastic,
        drawn,
        grid,
        recipe.augmentation,
    )
    found = warp.invert_map(to_source, points, grid, elastic, xp)
    if drawn is not None and "flip" in drawn:
        found = swap_pairs(found, drawn["flip"], pairs, xp)
    return image, {"points": found, "affine": xp.contract(affine, to_source)}


def part_of_grid(
    element: tuple[Any, dict[str, Any]],
    start: Any,
    window: Sequence[int],
    xp: Any = warp.KERAS,
) -> tuple[Any, dict[str, Any]]:
    """Cuts the same part out of a batch of training elements.

    Args:
        element: What `on_grid` returned, of a batch.
        start: int32 `(D,)`, the first pixel of the part in array order.
        window: The sizes of the part in array order.
        xp: The library, see `scn_keras.warp`.

    Returns:
        The same for the part: points in its pixels, affine from them to millimetres.
    """
    image, labels = element
    d = len(window)
    pixels = (slice(start[k], start[k] + window[k]) for k in range(d))
    image = image[(slice(None), *pixels)]
    shift = xp.cast(start[::-1], "float32")
    affine = labels["affine"]
    moved = xp.sum(affine[..., :d] * shift, axis=-1)
    affine = affine + moved[..., None] * np.eye(d + 1, dtype="float32")[d]
    return image, {"points": labels["points"] - shift, "affine": affine}


def places_of(window: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """Returns in how many places of each axis of a grid a window can lie."""
    return np.subtract(grid, window) + 1


def image_on_grid(
    flat: Any,
    sizes: Any,
    affine: Any,
    elastic: Any,
    drawn: Mapping[str, Any] | None,
    grid: Sequence[int],
    augmentation: Augmentation | None,
    xp: Any,
) -> Any:
    """Interpolates flat images and changes their grey values; see `on_grid`."""
    places = warp.sampling_grid(affine, grid, elastic, xp)
    image = warp.interpolate(flat, places, xp, sizes)
    if drawn is not None and augmentation is not None:
        image = augmentation.intensity(drawn, image, xp)
    return image[..., None]


def _lengths(columns, xp):
    return xp.sqrt(xp.sum(columns * columns, axis=-2))
