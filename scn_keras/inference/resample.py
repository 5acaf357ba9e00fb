"""Resamples images of any size to the network's grid, in TensorFlow graphs.

Training, evaluation, prediction and the exported SavedModel all call these functions,
so that a served model has the same input as the evaluated model. An image is resampled
in three steps, of which only the last one interpolates:

1. `reduce_image`: Gaussian smoothing with a width that depends on the reduction,
   evaluated at every n-th pixel, where n leaves at least two pixels per pixel of the
   grid;
2. `normalize`: grey values to about -1..1 (a few settings: in step 3, on the grid);
3. one linear interpolation (`scn_keras.warp`) at the coordinates of the grid's pixels
   in the reduced image, which include letterbox, augmentation and deformation.

Images and volumes are processed in the same way: D below is 2 or 3.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from scn_keras import warp
from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import letterbox, spacing_is_usable
from scn_keras.inference.grid_grey_values import clip_on_grid, normalize_on_grid
from scn_keras.inference.image_to_grid import NORMALIZATIONS, ImageToGrid
from scn_keras.inference.reduced_image import ReducedImage, to_reduced

OUTSIDE = -1.0  # the value outside the image: black; see `ImageToGrid.outside_value`

_KEPT_OF_BLOCK = 16  # pixels, see `_smooth`


def reduce_image(
    image: tf.Tensor, image_to_grid: ImageToGrid, spacing: tf.Tensor
) -> ReducedImage:
    """Smooths, subsamples and normalises an image for a grid.

    Args:
        image: float32 `(*sizes, 1)`, see `decode.grey_values`.
        image_to_grid: `ImageToGrid`.
        spacing: float32 `(D,)`, the spacing x, y(, z) of the image in mm. If it is not
            usable, pixels are assumed to be square and the image is fitted into the
            grid.

    Raises:
        ValueError: If the image does not have the axes of the grid and a channel.
    """
    grid, d = image_to_grid.grid, image_to_grid.dimensions
    image = tf.convert_to_tensor(image)
    if image.shape.rank not in (None, d + 1):
        raise ValueError(
            f"An image for the grid {tuple(grid)} must have {d} axes and one channel. "
            f"Received: shape={tuple(image.shape)}"
        )
    shape = tf.shape(image)
    size = [tf.cast(shape[axis], tf.float32) for axis in reversed(range(d))]
    scale, offset = letterbox_or_grid_spacing(size, image_to_grid, spacing)
    # Implausible spacings must not lead to huge kernels. The reduction is at most ten
    # times that of square pixels, and at most the larger of 64 and four times the
    # length of the axis.
    limit = 10.0 * tf.reduce_max(tf.stack(size)) / min(float(side) for side in grid)
    reduction = [
        tf.minimum(s, tf.minimum(limit, tf.maximum(4.0 * length, 64.0)))
        for s, length in zip(scale, size, strict=True)
    ]
    # Graph optimisation may replace a division by a product, which changes the last
    # digit. The small offset ensures that a reduction by exactly 2, 4, 6 … always gives
    # the same step.
    steps = [
        tf.maximum(tf.cast(tf.floor(s * 0.5 + 1.2345e-3), tf.int32), 1)
        for s in reduction
    ]
    # The smoothing is computed relative to the first pixel. Sums of zeros are exact in
    # any order, so that constant regions are equally constant in every runtime.
    corner = tf.reshape(image, [-1])[0]
    # The values around a volume may be NaN or huge and would invalidate all others.
    corner = tf.where(tf.abs(corner) < 1e5, corner, 0.0)
    image = image - corner
    for k, (s, step) in enumerate(zip(reduction, steps, strict=True)):
        # As in scikit-image, sigma is half the growth of the pixel.
        image = _smooth(image, d - 1 - k, tf.maximum(s - 1.0, 0.0) * 0.5, step)
    return ReducedImage(
        normalize(
            image + corner,
            image_to_grid.normalization,
            image_to_grid.normalization_limits,
            clip=not image_to_grid.clip_last,
        ),
        _scale_and_offset([tf.cast(step, tf.float32) for step in steps], [0.0] * d),
        _scale_and_offset(scale, offset),
        tf.stack(size),
    )


def letterbox_or_grid_spacing(
    size: Sequence[tf.Tensor], image_to_grid: ImageToGrid, spacing: tf.Tensor
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns scale and offset from the grid to the image, by axis x, y(, z)."""
    sides = [float(side) for side in reversed(image_to_grid.grid)]
    calibrated = spacing_is_usable(spacing, TENSORFLOW)
    spacing = tf.where(calibrated, spacing, tf.ones_like(spacing))
    scale, offset = letterbox(size, sides, tf.unstack(spacing))
    if image_to_grid.grid_spacing is not None:
        by_spacing = tf.constant(image_to_grid.grid_spacing, tf.float32) / spacing
        scale = tf.unstack(tf.where(calibrated, by_spacing, tf.stack(scale)))
        offset = [
            (s - 1.0) * 0.5 - k * (g - 1.0) * 0.5
            for s, g, k in zip(size, sides, scale, strict=True)
        ]
    return scale, offset


def normalize(
    image: tf.Tensor,
    method: str,
    limits: tuple[float, float] | None = None,
    clip: bool = True,
) -> tf.Tensor:
    """Maps grey values to about -1..1.

    Args:
        image: float32 `(*sizes, 1)`, from 0 to 1 except for `"window"`.
        method: `"range"` maps the full range of the pixel type to -1..1, as the
            reference does for cephalograms. `"percentile"` maps the 1st percentile to
            -1 and the 99th to 1 and clips other values, for images of different
            exposure. `"window"` maps two grey values in the same way, for CT.
            `"grid_percentile"` does the same as `"range"`, since percentiles are
            computed on the grid.
        limits: Two floats. For `"percentile"`, fractions in place of 0.01 and 0.99. For
            `"window"`, the grey values.
        clip: Bool, whether values beyond the limits are clipped.

    Raises:
        ValueError: If the method is unknown or `"window"` has no limits.
    """
    if method in ("range", "grid_percentile"):
        return image * 2.0 - 1.0
    if method not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {NORMALIZATIONS}. Received: "
            f"normalization={method!r}"
        )
    if method == "window":
        if limits is None:
            raise ValueError(
                'The normalization "window" requires two grey values. Received: '
                "limits=None"
            )
        low, high = tf.unstack(tf.constant(limits, tf.float32))
    else:
        # 4,096 pixels or more are enough to estimate the percentiles of a radiograph.
        d = image.shape.rank - 1
        sizes, count = tf.shape(image), round(4096 ** (1 / d))
        subsampled = image[
            tuple(
                slice(None, None, tf.maximum(sizes[axis] // count, 1))
                for axis in range(d)
            )
        ]
        values = tf.sort(tf.reshape(subsampled, [-1]))
        last = tf.cast(tf.size(values) - 1, tf.float32)
        low, high = (
            values[tf.cast(tf.round(last * share), tf.int32)]
            for share in limits or (0.01, 0.99)
        )
    scaled = tf.math.divide_no_nan(image - low, high - low) * 2.0 - 1.0
    return tf.clip_by_value(scaled, -1.0, 1.0) if clip else scaled


def resample_to_grid(
    reduced: ReducedImage,
    grid: Sequence[int],
    to_source: tf.Tensor | None = None,
    image_to_grid: ImageToGrid | None = None,
) -> tf.Tensor:
    """Interpolates a reduced image on the grid.

    Args:
        reduced: `ReducedImage`.
        grid: The sizes of the grid in array order.
        to_source: float32 `(D + 1, D + 1)`, from the grid to the source image; `None`
            for `reduced.grid_to_source`.
        image_to_grid: `ImageToGrid` of the image, which may map or clip grey values on
            the grid; `None` if it does not.
    """
    if to_source is None:
        to_source = reduced.grid_to_source
    affine = to_reduced(reduced, to_source, TENSORFLOW)
    outside = OUTSIDE if image_to_grid is None else image_to_grid.outside_value
    image = warp.pad_border(reduced.image[..., 0], len(grid), outside, TENSORFLOW)
    coordinates = warp.sampling_grid(affine, grid, xp=TENSORFLOW)
    image = warp.interpolate(image, coordinates, TENSORFLOW)
    if image_to_grid is not None:
        image = normalize_on_grid(image, image_to_grid, TENSORFLOW)
        image = clip_on_grid(image, image_to_grid, TENSORFLOW)
    return image[..., None]


def flatten(image: tf.Tensor, outside: float = OUTSIDE) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an image `(*sizes, 1)` in the flat form of `warp.interpolate`.

    The length is rounded up, by at most a fourth, to one of few values. A program is
    therefore compiled for about ten lengths, for images of all sizes.

    Returns:
        `(flat, sizes)`, float32 `(n,)` and int32 `(D,)`, including the border.
    """
    d = image.shape.rank - 1
    image = warp.pad_border(image[..., 0], d, outside, TENSORFLOW)
    count = tf.size(image)
    bits = tf.math.log(tf.cast(count, tf.float32)) / math.log(2.0)
    unit = tf.bitwise.left_shift(1, tf.maximum(tf.cast(bits, tf.int32) - 2, 0))
    rest = tf.math.floormod(-count, unit)
    return tf.pad(tf.reshape(image, [-1]), [[0, rest]]), tf.shape(image)


def _smooth(image, axis, sigma, step):
    """Smooths one axis with a Gaussian and keeps every `step`-th pixel."""
    shape, d = tf.shape(image), image.shape.rank - 1
    length = shape[axis]
    kept = (length + 2 * step - 2) // step  # includes one beyond the edge if step > 1
    outer, inner = tf.reduce_prod(shape[:axis]), tf.reduce_prod(shape[axis + 1 :])
    # Matrix products are several times as fast as a convolution of one channel, and
    # compute only the pixels that are kept. A block of pixels contributes to its own 16
    # kept pixels and to the 16 of the block before. A kernel is not longer than the
    # block and a step, since a step is at least half of the reduction, rounded down.
    block = _KEPT_OF_BLOCK * step
    radius, own, before = _kernels(sigma, step)
    # The border is replicated.
    blocks = (kept + _KEPT_OF_BLOCK - 1) // _KEPT_OF_BLOCK + 1
    image = tf.reshape(image, [outer, length, inner])
    ends = (image[:, :1], radius), (image[:, -1:], blocks * block - radius - length)
    first, last = (tf.repeat(pixels, count, axis=1) for pixels, count in ends)
    image = tf.concat([first, image, last], axis=1)
    both = tf.concat([own, before], axis=0)
    if axis == d - 1:
        image = tf.reshape(image, [-1, block])
        parts = tf.matmul(image, both, transpose_b=True)
    else:
        image = tf.reshape(image, [outer, blocks, block, inner])
        parts = tf.matmul(both, image)
    parts = tf.reshape(parts, [outer, blocks, 2, _KEPT_OF_BLOCK, inner])
    image = parts[:, :-1, 0] + parts[:, 1:, 1]
    image = tf.reshape(image, [outer, -1, inner])[:, :kept]
    image = tf.reshape(image, tf.concat([shape[:axis], [kept], shape[axis + 1 :]], 0))
    return tf.ensure_shape(image, [None] * d + [1])


def _kernels(sigma, step):
    """Returns the radius of a Gaussian and two matrices `(kept, block)` of its weights.

    The first has the weights of a block's pixels in the block's own kept pixels, the
    second their weights in the kept pixels of the block before.
    """
    radius = tf.cast(tf.floor(4.0 * sigma + 0.5 + 1.2345e-3), tf.int32)
    taps = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    kernel = tf.exp(-0.5 * tf.square(taps / tf.maximum(sigma, 1e-3)))
    kernel = kernel / tf.reduce_sum(kernel)
    kept, last = tf.range(_KEPT_OF_BLOCK)[:, None], 2 * radius

    def weights(pixels):
        tap = pixels - kept * step
        value = tf.gather(kernel, tf.clip_by_value(tap, 0, last))
        return tf.where((tap >= 0) & (tap <= last), value, 0.0)

    pixels = tf.range(_KEPT_OF_BLOCK * step)
    return radius, weights(pixels), weights(pixels + _KEPT_OF_BLOCK * step)


def _scale_and_offset(scale, offset):
    d = len(scale)
    linear = tf.linalg.diag(tf.stack([*scale, 1.0]))
    return linear + tf.pad(tf.stack([*offset, 0.0])[:, None], [[0, 0], [d, 0]])
