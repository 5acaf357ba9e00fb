"""Volumes in the axes of the patient, in whatever order a file stores their voxels."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import apply_affine, has_usable_spacing
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.warp import sum_of_products

# Row: the stored axes that become x, y and z. The first of equal ones is used.
_ORDERS = np.array([*itertools.permutations(range(3))], np.int32)


def to_patient_axes(image: tf.Tensor, affine: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reorders and reverses the axes of a volume to x left, y back and z up.

    Each axis of the result is the stored axis that is closest to this direction.
    Nothing is interpolated.

    Args:
        image: Tensor `(slices, rows, columns, 1)`.
        affine: float32 `(4, 4)`, from voxels to mm (LPS). A volume without a usable
            spacing is returned as it is.

    Returns:
        `(image, to_stored)`: the reordered volume, and float32 `(4, 4)` from its voxels
        to those of the stored one, a permutation with signs.
    """
    linear = affine[:3, :3]
    length = tf.sqrt(tf.reduce_sum(tf.square(linear), axis=0))
    cosines = tf.math.divide_no_nan(linear, length)
    # (order, axis): the cosines of the stored axes in their new places.
    new = tf.stack([tf.gather(cosines[k], _ORDERS[:, k]) for k in range(3)], axis=1)
    best = tf.argmax(tf.reduce_sum(tf.abs(new), axis=1))
    usable = has_usable_spacing(affine, TENSORFLOW)
    best = tf.where(usable, best, 0)
    order = tf.gather(tf.constant(_ORDERS), best)
    reverse = (tf.gather(new, best) < 0.0) & usable

    turned = tf.transpose(image, tf.concat([2 - order[::-1], [3]], axis=0))
    # The axes of the array are z, y, x.
    turned = tf.reverse(turned, tf.cast(2 - tf.where(reverse)[:, 0], tf.int32))
    turned = tf.ensure_shape(turned, [None, None, None, 1])

    last = tf.cast(tf.shape(turned)[2::-1] - 1, tf.float32)
    sign = tf.where(reverse, -1.0, 1.0)
    places = tf.one_hot(order, 3, axis=0)  # (stored axis, new axis)
    linear = places * sign
    offset = tf.reduce_sum(places * tf.where(reverse, last, 0.0), axis=1)
    to_stored = tf.concat([linear, offset[:, None]], axis=1)
    return turned, tf.concat([to_stored, [[0.0, 0.0, 0.0, 1.0]]], axis=0)


def from_stored(to_stored: tf.Tensor) -> tf.Tensor:
    """Inverts the second result of `to_patient_axes`, without rounding."""
    linear = tf.transpose(to_stored[:3, :3])
    offset = -tf.reduce_sum(linear * to_stored[:3, 3], axis=1)
    inverse = tf.concat([linear, offset[:, None]], axis=1)
    return tf.concat([inverse, [[0.0, 0.0, 0.0, 1.0]]], axis=0)


def sample_in_grid_axes(
    sample: Mapping[str, Any], image_to_grid: ImageToGrid
) -> dict[str, Any]:
    """Returns a stored sample in the axes of the grid, see `ImageToGrid`.

    Args:
        sample: Mapping with `image`, `affine` and `points` or `points_<observer>`.
        image_to_grid: `ImageToGrid`.
    """
    sample = dict(sample)
    if not image_to_grid.uses_patient_axes:
        return sample
    image, to_stored = to_patient_axes(sample["image"], sample["affine"])
    inverse = from_stored(to_stored)
    sample["image"] = image
    sample["affine"] = sum_of_products(sample["affine"], to_stored)
    for name in [name for name in sample if name.startswith("points")]:
        sample[name] = apply_affine(inverse, sample[name])
    return sample
