"""Samples an image at several scales around points, without aliasing."""

import itertools

from keras import ops


def smoothed_levels(image, scales):
    """Returns the means of the image over boxes of 1, 2, 4, ... pixels.

    All levels keep the pixels of the image. A pyramid that is subsampled would give
    other glimpses after a shift by one pixel.

    Args:
        image: `(batch, *spatial, channels)`. Pixels of the border are repeated.
        scales: Int, the number of levels. The last has boxes of `2 ** (scales - 1)`.

    Returns:
        List of `(batch, *spatial, channels)` and the margin in pixels. The box of level
        s at index i extends from pixel `i - margin` to `i - margin + 2 ** s - 1`.
    """
    margin = 2 ** (scales - 1)
    axes = range(1, len(image.shape) - 1)
    for axis, size in zip(axes, ops.shape(image)[1:-1], strict=True):
        index = ops.arange(-margin, size + margin, dtype="int32")
        image = ops.take(image, ops.clip(index, 0, size - 1), axis=axis)
    levels = [image]
    for scale in range(scales - 1):
        for axis in axes:
            image = 0.5 * (
                _part(image, axis, 2**scale) + _part(image, axis, -(2**scale))
            )
        levels.append(image)
    return levels, margin


def glimpses(levels, margin, points, size, image_sizes):
    """Samples a square around each point at each level, by linear interpolation.

    Args:
        levels: List of `(batch, *spatial, channels)`, see `smoothed_levels`.
        margin: Int, see `smoothed_levels`.
        points: `(batch, landmarks, D)` in pixels of the image, columns x, y(, z).
        size: Int, the number of samples along each axis. Those of level s are
            `2 ** s` pixels apart. The point is the centre.
        image_sizes: The sizes of the image, in array order.

    Returns:
        List of `(batch * landmarks, *[size] * D, channels)`, one array per level.
    """
    offset = ops.arange(size, dtype="float32") - 0.5 * (size - 1)
    return [
        _sampled(
            level, margin - 0.5 * (2**scale - 1), points, offset * 2**scale, image_sizes
        )
        for scale, level in enumerate(levels)
    ]


def _sampled(level, shift, points, offset, image_sizes):
    shape, rank, size = ops.shape(level), points.shape[-1], offset.shape[0]
    corners = []
    for axis, length in enumerate(image_sizes):
        position = points[..., rank - 1 - axis, None] + offset
        # Outside the image, its border is repeated.
        last = ops.cast(length, "float32") - 1.0
        position = ops.clip(position, 0.0, last) + shift
        lower = ops.floor(position)
        fraction = position - lower
        lower = ops.cast(lower, "int32")
        broadcast = (-1, *[size if k == axis else 1 for k in range(rank)])
        corners.append(
            [
                (ops.reshape(lower, broadcast), ops.reshape(1.0 - fraction, broadcast)),
                (ops.reshape(lower + 1, broadcast), ops.reshape(fraction, broadcast)),
            ]
        )
    landmarks = points.shape[1]
    image = ops.repeat(ops.arange(shape[0], dtype="int32"), landmarks)
    image = ops.reshape(image, (-1, *[1] * rank))
    pixels = ops.reshape(level, (-1, level.shape[-1]))
    terms = []
    for corner in itertools.product(*corners):
        flat, weight = image, 1.0
        for (index, share), length in zip(corner, shape[1:-1], strict=True):
            flat, weight = flat * length + index, weight * share
        terms.append(ops.take(pixels, flat, axis=0) * ops.expand_dims(weight, -1))
    return sum(terms)


def _part(x, axis, shift):
    """Returns `x` without its first `shift` entries, or without its last `-shift`."""
    index = [slice(None)] * len(x.shape)
    index[axis] = slice(shift, None) if shift > 0 else slice(None, shift)
    return x[tuple(index)]
