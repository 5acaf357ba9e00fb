"""Grey values on the grid: steps of the preprocessing after the interpolation.

Most settings need none, since grey values are mapped and clipped before it. As in
`scn_keras.warp`, functions take an array namespace `xp`, and leading axes (`...`) are
batch axes.
"""

import math
from typing import Any

from scn_keras.inference.image_to_grid import ImageToGrid

_PERCENTILES = (0.01, 0.99)


def normalize_on_grid(image: Any, image_to_grid: ImageToGrid, xp: Any) -> Any:
    """Maps two percentiles of the grid's pixels to -1 and 1, for `"grid_percentile"`.

    All pixels are sorted. Of n pixels, the lower percentile p is pixel `floor(n p)` and
    the upper one `floor(n p) - 1`, from 0, as in the authors' code. Images of one grey
    value become -1.

    Args:
        image: Array `(..., *grid)`.
        image_to_grid: `ImageToGrid`; with other normalizations, the image is returned.
        xp: The array namespace, see `scn_keras.array_api`.
    """
    if not image_to_grid.normalizes_on_grid:
        return image
    d, count = image_to_grid.dimensions, math.prod(image_to_grid.grid)
    leading = [*xp.shape(image)[: len(image.shape) - d]]
    pixels = xp.sort(xp.reshape(image, (*leading, count)))
    below, above = image_to_grid.normalization_limits or _PERCENTILES
    # A product such as 100 * 0.29 may lie just below the integer.
    first = math.floor(count * below + 1e-6)
    last = max(math.floor(count * above + 1e-6) - 1, first)
    low, high = (pixels[(..., k) + (None,) * d] for k in (first, last))
    extent = xp.where(high > low, high - low, 1.0)
    return (image - low) / extent * 2.0 - 1.0


def clip_on_grid(image: Any, image_to_grid: ImageToGrid, xp: Any) -> Any:
    """Limits grey values to -1 to 1 after all other steps, for `clip_last`.

    Args:
        image: Array `(..., *grid)`.
        image_to_grid: `ImageToGrid`; without `clip_last`, the image is returned.
        xp: The array namespace, see `scn_keras.array_api`.
    """
    return xp.clip(image, -1.0, 1.0) if image_to_grid.clip_last else image
