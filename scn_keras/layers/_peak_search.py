"""Finds the largest pixels of heatmaps and gathers the pixels around them."""

import math

from keras import ops


def find_largest(heatmaps, count):
    """Returns the `count` largest pixels of every heatmap, the largest first.

    The search reduces one axis at a time, beginning with the last: the `count` largest
    pixels lie in the `count` lines with the largest maxima. With channels-last memory
    this is several times as fast as sorting or one argmax over all pixels. It uses
    `top_k`, because Keras's argmax on TensorFlow exports to neither ONNX nor OpenVINO.

    Returns:
        Values `(batch, landmarks, count)`, and their indices, a list by axis.
    """
    rank = len(heatmaps.shape) - 2
    if rank == 1:
        values, index = ops.top_k(ops.transpose(heatmaps, (0, 2, 1)), count)
        return values, [ops.cast(index, "int32")]
    _, lines = find_largest(ops.max(heatmaps, axis=rank), count)
    shape = ops.shape(heatmaps)
    length = shape[rank]
    along = ops.arange(length, dtype="int32")
    pixels = gather(heatmaps, [*(line[..., None] for line in lines), along])
    pixels = ops.reshape(pixels, (-1, shape[-1], count * length))
    values, index = ops.top_k(pixels, count)
    index = ops.cast(index, "int32")
    line_index = index // length
    lines = [_choose(line, line_index, count) for line in lines]
    return values, [*lines, index - line_index * length]


def _choose(values, chosen, count):
    # Replaces `take_along_axis` by operations that every export format has. `count` is
    # small.
    if count == 1:
        return values
    same = ops.equal(chosen[..., None], ops.arange(count, dtype="int32"))
    return ops.sum(ops.where(same, values[..., None, :], 0), axis=-1)


def keep_local_maxima(heatmaps, radius):
    """Sets all pixels to zero except positive local maxima.

    A local maximum is the largest pixel within `radius` along every axis. Of equal
    pixels within the radius the first is kept, so that a plateau is one peak.
    """
    heatmaps = ops.maximum(heatmaps, 0.0)
    kept = ops.ones_like(heatmaps, dtype="bool")
    around = heatmaps
    for axis in range(len(heatmaps.shape) - 2, 0, -1):
        # The pixels that precede in row-major order: those before along this axis, at
        # any position of the window along the later axes.
        before = _slide(around, axis, (radius, 0), radius, trailing=1)
        kept = ops.logical_and(kept, heatmaps > before)
        around = _slide(around, axis, (radius, radius), 2 * radius + 1)
    kept = ops.logical_and(kept, heatmaps >= around)
    return ops.where(kept, heatmaps, 0.0)


def _slide(heatmaps, axis, padding, window, trailing=0):
    """Returns the maximum over a window that slides along one axis, zeros outside."""
    # Always computed by two-dimensional pooling, the only one that LiteRT has.
    shape = ops.shape(heatmaps)
    outer, inner = _sizes_around(shape, axis)
    flat = ops.reshape(heatmaps, (outer, shape[axis], 1, inner))
    flat = ops.pad(flat[:, : shape[axis] - trailing], ((0, 0), padding, (0, 0), (0, 0)))
    flat = ops.max_pool(flat, (window, 1), 1, data_format="channels_last")
    return ops.reshape(flat, shape)


def _sizes_around(shape, axis):
    """Returns the products of the sizes before and after an axis."""
    outer, inner = 1, 1
    for size in shape[:axis]:
        outer = outer * size
    for size in shape[axis + 1 :]:
        inner = inner * size
    return outer, inner


def gather(heatmaps, index):
    """Takes `heatmaps[b, *index[b, n, ...], n]`.

    Args:
        heatmaps: `(batch, *spatial, landmarks)`.
        index: List by spatial axis of int32 arrays that broadcast to
            `(batch, landmarks, ...)`.
    """
    shape = ops.shape(heatmaps)
    extra = [1] * (max(len(i.shape) for i in index) - 2)
    flat = ops.reshape(ops.arange(shape[0], dtype="int32"), (-1, 1, *extra))
    for position, size in zip(index, shape[1:-1], strict=True):
        flat = flat * size + position
    landmark = ops.arange(shape[-1], dtype="int32")
    flat = flat * shape[-1] + ops.reshape(landmark, (-1, *extra))
    return ops.take(ops.reshape(heatmaps, (-1,)), flat)


def gather_window(heatmaps, center, offsets):
    """Takes the pixels around one pixel of every heatmap.

    Args:
        heatmaps: `(batch, *spatial, landmarks)`.
        center: List by axis of int32 `(batch, landmarks, peaks)`.
        offsets: int array `(pixels, D)` in array order.

    Returns:
        Values and whether they lie inside, `(all peaks, pixels)`. Pixels outside the
        heatmap have the value of the nearest pixel inside.
    """
    index, inside = [], True
    sizes = ops.shape(heatmaps)[1:-1]
    for axis, (i, size) in enumerate(zip(center, sizes, strict=True)):
        position = i[..., None] + ops.convert_to_tensor(offsets[:, axis], "int32")
        clipped = ops.clip(position, 0, size - 1)
        inside = ops.logical_and(inside, ops.equal(position, clipped))
        index.append(clipped)
    shape = (-1, len(offsets))
    # The product of an infinity and a zero of a stencil would be NaN.
    values = ops.maximum(gather(heatmaps, index), -1e37)
    return ops.reshape(values, shape), ops.reshape(inside, shape)


def smooth_heatmaps(heatmaps, sigma):
    """Smooths all spatial axes with a Gaussian; the border is replicated.

    The kernel is cut at four sigma, as in SciPy and scikit-image.
    """
    radius = int(4.0 * sigma + 0.5)
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
    total = sum(weights)
    for axis in range(1, len(heatmaps.shape) - 1):
        shape = ops.shape(heatmaps)
        outer, inner = _sizes_around(shape, axis)
        length = shape[axis]
        lines = ops.reshape(heatmaps, (outer, length, inner))
        ends = [ops.repeat(lines[:, :1], radius, axis=1)]
        ends += [lines, ops.repeat(lines[:, -1:], radius, axis=1)]
        padded = ops.concatenate(ends, axis=1)
        lines = sum(
            padded[:, k : k + length] * (weight / total)
            for k, weight in enumerate(weights)
        )
        heatmaps = ops.reshape(lines, shape)
    return heatmaps
