"""How much the shape of predicted points differs from those of training images."""

from typing import Any

import numpy as np
from keras import ops

from scn_keras.array_api import KERAS
from scn_keras.inference.rotations import limited_rotation

# The tolerated rotation and magnification in addition to the variation of the training
# images, as a fraction of the distance, and the number of standard deviations at which
# the saturating measure is one half.
_TOLERANCE = 0.05
_HALF_SATURATION = 3.0


def pair_shape(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and deviations of the displacements between landmarks.

    Args:
        truth: Array `(n, N, D)` in pixels of the grid, NaN if missing.

    Returns:
        Tuple of the means `(N, N, D)` and the standard deviations along an axis
        `(N, N)`, both NaN for landmarks that never occur in the same image.
    """
    mean, deviation = [], []
    for landmark in range(truth.shape[1]):
        displacement = truth[:, landmark, None] - truth
        known = ~np.isnan(displacement).any(-1)
        count = known.sum(0)
        displacement = np.where(known[..., None], displacement, 0.0)
        center = displacement.sum(0) / np.maximum(count, 1)[:, None]
        squared = np.square(np.where(known[..., None], displacement - center, 0.0))
        variance = squared.mean(-1).sum(0) / np.maximum(count - 1, 1)
        tolerated = np.square(_TOLERANCE * center).sum(-1) + 1.0
        never = count == 0
        mean.append(np.where(never[:, None], np.nan, center))
        deviation.append(np.where(never, np.nan, np.sqrt(variance + tolerated)))
    return np.array(mean), np.array(deviation)


def shape_deviation(
    points: Any,
    counts: Any,
    mean: np.ndarray,
    deviation: np.ndarray,
    max_rotation: float = 0.0,
) -> Any:
    """Returns the shape deviations of images, `(B,)`, see `Calibration.novelty`.

    It uses only Keras operations without linear algebra, which ONNX and LiteRT lack.

    Args:
        points: float32 `(B, N, D)` in pixels of the grid.
        counts: float32 `(B, N)`, 1 for landmarks that are compared, otherwise 0.
        mean, deviation: See `pair_shape`.
        max_rotation: Float, the angle in degrees by which the points are rotated at
            most towards the mean displacements before they are compared.

    Returns:
        float32 `(B,)` from 0 to 1; 1 for an image without any pair of landmarks.
    """
    known = np.isfinite(deviation)
    mean = _constant(np.where(known[..., None], mean, 0.0))
    deviation = _constant(np.where(known, deviation, 1.0))
    finite = ops.all(ops.isfinite(points), axis=-1)
    points = ops.where(finite[..., None], points, 0.0)
    both_finite = ops.logical_and(finite[:, :, None], finite[:, None])
    pairs = counts[:, :, None] * counts[:, None] * _constant(known)
    displacement = points[:, :, None] - points[:, None]
    if max_rotation:
        weights = pairs * ops.cast(both_finite, "float32") / ops.square(deviation)
        products = mean[..., :, None] * displacement[..., None, :]
        moments = ops.sum(weights[..., None, None] * products, axis=(1, 2))
        rotation = limited_rotation(moments, max_rotation, KERAS)
        displacement = ops.sum(
            rotation[:, None, None] * displacement[..., None, :], axis=-1
        )
    squared = ops.mean(
        ops.square((displacement - mean) / deviation[..., None]), axis=-1
    )
    novel = squared / (squared + _HALF_SATURATION**2)
    novel = ops.where(both_finite, novel, 1.0)
    number = ops.sum(pairs, axis=(1, 2))
    shape = ops.sum(pairs * novel, axis=(1, 2)) / ops.maximum(number, 1.0)
    return ops.where(number > 0.0, shape, 1.0)


def _constant(values: np.ndarray) -> Any:
    return ops.convert_to_tensor(np.asarray(values, np.float32))
