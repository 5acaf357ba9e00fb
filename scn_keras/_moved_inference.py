"""Functions of `scn_keras.training.inference` as version 0.1 had them.

Loaded by that old path alone, see `_moved`; new code calls `scn_keras.inference`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.inference.calibration import Calibration
from scn_keras.inference.coarse_to_fine import CoarseToFine
from scn_keras.inference.locator import HasLocalizer, Locator
from scn_keras.inference.resample import reduce_image, resample_to_grid

_OF_A_CALIBRATION = {"radius90_px", "radius90_mm", "present", "trusted"}
_NEW = {"points_mm", "covariance_mm2", "calibrated"}


def to_network(
    image: tf.Tensor, spacing: tf.Tensor, recipe: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings one image to the grid.

    Args:
        image: float32 `(*sizes, 1)`, see `scn_keras.inference.decode.grey_values`.
        spacing: float32 `(D,)`, mm per pixel in x, y(, z); 0 where not known.
        recipe: Object with an attribute `image_to_grid`, such as a `Recipe`.

    Returns:
        `(grid image, grid_to_source)`, `(*grid, 1)` and `(D + 1, D + 1)`.
    """
    reduced = reduce_image(image, recipe.image_to_grid, spacing)
    grid_image = resample_to_grid(reduced, recipe.image_to_grid.grid)
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
    """Finds the landmarks of a stream of images, see `Locator.locate`.

    Args:
        model, views, calibration: See `Locator`.
        images, batch_size, keep_image: See `Locator.locate`.
        recipe: Object with an attribute `image_to_grid`, such as a `Recipe`.
        placement: See `Locator`, `coarse_to_fine`.

    Yields:
        The outputs of `Locator.locate` that version 0.1 had: no `points_mm`,
        `covariance_mm2` and `calibrated`, and those of a calibration only with one.
    """
    locator = Locator(model, recipe.image_to_grid, views, placement, calibration)
    left_out = _NEW if calibration is not None else _NEW | _OF_A_CALIBRATION
    for outputs in locator.locate(images, batch_size, keep_image):
        yield {name: v for name, v in outputs.items() if name not in left_out}
