"""From a reduced image to a training element: what is done anew at every step.

As `scn_keras.warp`, every function takes the library as `arrays`: the pipeline of
`tf.data` and batches of arrays on any backend share it. Leading axes (`...`) are
batches.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scn_keras import warp
from scn_keras.training.augmentation import Augmentation, swap_pairs
from scn_keras.training.recipe import Recipe


class ReducedImage(NamedTuple):
    """A smoothed, thinned-out, normalised image and where its pixels lie.

    Attributes:
        image: float32 `(..., *sizes, 1)`, about -1 to 1.
        to_source: float32 `(..., D + 1, D + 1)`, from its pixels to those of the
            source image.
        grid_to_source: float32 `(..., D + 1, D + 1)`, letterbox, crop or `Placement`:
            from pixels of the grid to those of the source image.
        size: float32 `(..., D)`, the size of the source image in x, y(, z).
    """

    image: Any
    to_source: Any
    grid_to_source: Any
    size: Any


def on_grid(
    reduced: ReducedImage,
    sizes: Any,
    affine: Any,
    points: Any,
    recipe: Recipe,
    drawn: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
    arrays: Any = warp.KERAS,
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
        arrays: The library, see `scn_keras.warp`.
        image_of: What does as `image_on_grid`, `arrays` aside, for example compiled.

    Returns:
        `(image, {"points", "affine"})`: image `(..., *grid, 1)`, points in pixels of
        the grid, affine from them to millimetres (without the elastic part, which is
        no affine).
    """
    grid, to_source, elastic = recipe.grid, reduced.grid_to_source, None
    if drawn is not None and recipe.augmentation is not None:
        augmentation = recipe.augmentation
        linear = to_source[..., :-1, :-1]
        scale = _lengths(linear, arrays)
        aspect = warp.aspect_of(affine, arrays)
        spacing = _lengths(linear * aspect[..., :, None], arrays)
        moved = augmentation.affine(drawn, grid, spacing, reduced.size / scale, arrays)
        to_source = arrays.contract(to_source, moved)
        elastic = augmentation.elastic_displacements(drawn, grid, spacing, arrays)
    image_of = image_of or functools.partial(image_on_grid, arrays=arrays)
    image = image_of(
        reduced.image,
        sizes,
        to_reduced(reduced, to_source, arrays),
        elastic,
        drawn,
        grid,
        recipe.augmentation,
    )
    found = warp.invert_map(to_source, points, grid, elastic, arrays)
    if drawn is not None and "flip" in drawn:
        found = swap_pairs(found, drawn["flip"], pairs, arrays)
    return image, {"points": found, "affine": arrays.contract(affine, to_source)}


def part_of_grid(
    element: tuple[Any, dict[str, Any]],
    start: Any,
    window: Sequence[int],
    arrays: Any = warp.KERAS,
) -> tuple[Any, dict[str, Any]]:
    """Cuts the same part out of a batch of training elements.

    Args:
        element: What `on_grid` returned, of a batch.
        start: int32 `(D,)`, the first pixel of the part in array order.
        window: The sizes of the part in array order.
        arrays: The library, see `scn_keras.warp`.

    Returns:
        The same for the part: points in its pixels, affine from them to millimetres.
    """
    image, labels = element
    d = len(window)
    pixels = (slice(start[k], start[k] + window[k]) for k in range(d))
    image = image[(slice(None), *pixels)]
    shift = arrays.cast(start[::-1], "float32")
    affine = labels["affine"]
    moved = arrays.sum(affine[..., :d] * shift, axis=-1)
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
    arrays: Any,
) -> Any:
    """Interpolates flat images and changes their grey values; see `on_grid`."""
    places = warp.lattice(affine, grid, elastic, arrays)
    image = warp.interpolate(flat, places, arrays, sizes)
    if drawn is not None and augmentation is not None:
        image = augmentation.intensity(drawn, image, arrays)
    return image[..., None]


def to_reduced(reduced: ReducedImage, to_source: Any, arrays: Any) -> Any:
    """Turns an affine into the source image into one into the reduced image."""
    # `to_source` of the reduced image is diagonal. A matrix product would lose digits
    # where the exported graph runs on a GPU, see `apply_affine`.
    return to_source / _diagonal(reduced.to_source, arrays)[..., :, None]


def _lengths(columns, arrays):
    return arrays.sqrt(arrays.sum(columns * columns, axis=-2))


def _diagonal(matrix, arrays):
    return arrays.stack([matrix[..., k, k] for k in range(matrix.shape[-1])], axis=-1)
