"""Generalised distance transforms of quadratic distances, and trees of springs."""

import math

import numpy as np
from keras import ops

# Elements of an intermediate array of the transform, 32 MiB.
_MAX_ELEMENTS = 2**23


def distance_transform(cost, offset, deviation, weight):
    """Returns for every pixel y the minimum over x of `cost(x)` and a quadratic.

    The quadratic is `weight * sum(((x - y - offset) / deviation)^2) / 2`, which is
    separable, so that one axis after the other is minimised exactly. (Felzenszwalb and
    Huttenlocher, 2005, find lower envelopes of parabolas, whose loops do not suit
    tensors.)

    Args:
        cost: Float32 `(batch, *spatial)`.
        offset: Floats by axis in array order.
        deviation: Floats by axis in array order.
        weight: Float.
    """
    rank = len(cost.shape) - 1
    # Those of one image if the size of the batch is not known.
    pixels = math.prod(size or 1 for size in cost.shape)
    for axis in range(rank):
        order = [*range(rank + 1)]
        order.append(order.pop(axis + 1))
        moved = ops.transpose(cost, order)
        shape = ops.shape(moved)
        quadratic = spring(
            along(shape[-1])[None, :] - along(shape[-1])[:, None],
            offset[axis],
            deviation[axis],
            weight,
        )
        lines = ops.reshape(moved, (-1, shape[-1]))
        smallest = _min_plus(lines, quadratic, max(1, _MAX_ELEMENTS // pixels))
        back = np.argsort(order).tolist()
        cost = ops.transpose(ops.reshape(smallest, shape), back)
    return cost


def spring(difference, offset, deviation, weight):
    """Returns the cost of the difference of two coordinates."""
    return 0.5 * weight * ((difference - offset) / deviation) ** 2


def along(size):
    """Returns the coordinates of the pixels of an axis."""
    return ops.cast(ops.arange(size, dtype="int32"), "float32")


def _min_plus(cost, quadratic, block):
    """Returns `min over x of cost[:, x] + quadratic[y, x]`, `(lines, size)`.

    It is computed for `block` values of x at once if the size is known.
    """
    size = cost.shape[1]
    if size is None:
        return ops.min(cost[:, None, :] + quadratic, axis=-1)
    result = None
    for first in range(0, size, block):
        part = slice(first, min(first + block, size))
        smallest = ops.min(cost[:, None, part] + quadratic[:, part], axis=-1)
        result = smallest if result is None else ops.minimum(result, smallest)
    return result
