"""Functions of `scn_keras.training.inference` with the signatures of version 0.1.

They are available only by that old path, see `_moved`. New code should use
`scn_keras.inference`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.inference.calibration import Calibration
from scn_keras.inference.coarse_to_fine import CoarseToFine
from scn_keras.inference.locator import HasLocalizer, Locator
from scn_keras.inference.resample import reduce_image, resample_to_grid

_OF_A_CALIBRATION = {"radius90_px", "radius90_mm", "present", "trusted", "novelty"}
_NEW = {"points_mm", "covariance_mm2", "calibrated"}


def to_network(
    image: tf.Tensor, spacing: tf.Tensor, recipe: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resamples one image to the grid.

    Args:
        image: float32 `(*sizes, 1)`, see `scn_keras.inference.decode.grey_values`.
        spacing: float32 `(D,)`, mm per pixel in x, y(, z); 0 if unknown.
        recipe: Object with an attribute `image_to_grid`, such as a `Recipe`.

    Returns:
        `(grid image, grid_to_source)`, `(*grid, 1)` and `(D + 1, D + 1)`.
    """
    reduced = reduce_image(image, recipe.image_to_grid, spacing)
    to_grid = recipe.image_to_grid
    grid_image = resample_to_grid(reduced, to_grid.grid, None, to_grid)
    return grid_image, reduced.grid_to_source


def locate(
    model: HasLocalizer,
    images: tf.data.Dataset,
    recipe: Any,
    batch_size: int = 4,
    views: np.ndarray | None = None,
    placement: CoarseToFine | None = None,
    keep_image: bool = False,
    calibration: Calibration | None = None,
) -> Iterator[dict[str, Any]]:
    """Localises the landmarks of a stream of images, see `Locator.locate`.

    Args:
        model, views, calibration: See `Locator`.
        images, batch_size, keep_image: See `Locator.locate`.
        recipe: Object with an attribute `image_to_grid`, such as a `Recipe`.
        placement: See `Locator`, `coarse_to_fine`.

    Yields:
        The outputs of `Locator.locate` in version 0.1: without `points_mm`,
        `covariance_mm2` and `calibrated`, and with those of a calibration only if there
        is one.
    """
    locator = Locator(model, recipe.image_to_grid, views, placement, calibration)
    omitted = _NEW if calibration is not None else _NEW | _OF_A_CALIBRATION
    for outputs in locator.locate(images, batch_size, keep_image):
        yield {name: v for name, v in outputs.items() if name not in omitted}
