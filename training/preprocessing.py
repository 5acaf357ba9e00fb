"""From a file's bytes to the network's grid, in TensorFlow graphs of any size.

Training, evaluation, prediction and the exported SavedModel call these functions and
no others, so that the model that is served is the model that was measured. An image
is reduced in three steps, only the last of which interpolates:

1. `reduce_image`: Gaussian smoothing, as wide as the reduction asks for, evaluated at
   every n-th pixel, where n leaves at least two pixels to a pixel of the grid;
2. `normalize`: grey values to about -1..1;
3. one linear interpolation (`scn_keras.warp`) at the places that the grid's pixels
   have in the reduced image, wherever letterbox, augmentation and deformation put them.

Images and volumes take the same path: D below is 2 or 3.
"""

import math
import types
from collections.abc import Sequence

import tensorflow as tf

from scn_keras import warp
from scn_keras.geometry import letterbox
from scn_keras.training.on_grid import ReducedImage, to_reduced

NORMALIZATIONS = ("range", "percentile", "window")
OUTSIDE = -1.0  # what lies around the image: black
# Above the largest radiographs; 8192 x 8192. A JPEG of 400 bytes can promise six times
# as many pixels, and is decoded to gigabytes of grey.
MAX_DECODED_PIXELS, MAX_DECODED_SIDE = 2**26, 2**14

_KEPT_OF_BLOCK = 16  # pixels, see `_smooth`
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG"
_BMP = b"BM"


def _shape(x):
    dynamic = tf.shape(x)
    return [dynamic[i] if size is None else size for i, size in enumerate(x.shape)]


def _svd(matrix):
    strength, u, v = tf.linalg.svd(matrix)
    return u, strength, tf.linalg.matrix_transpose(v)


def _fori_loop(lower, upper, body_fun, init_val):
    return tf.while_loop(
        lambda number, _: number < upper,
        lambda number, value: (number + 1, body_fun(number, value)),
        (lower, init_val),
    )[1]


# What `scn_keras.warp` needs, where Keras may run on another backend.
TENSORFLOW = types.SimpleNamespace(
    abs=tf.abs,
    arange=tf.range,
    cast=tf.cast,
    clip=tf.clip_by_value,
    contract=tf.matmul,
    convert_to_tensor=tf.convert_to_tensor,
    cos=tf.cos,
    det=tf.linalg.det,
    exp=tf.exp,
    floor=tf.floor,
    fori_loop=_fori_loop,
    inv=tf.linalg.inv,
    isnan=tf.math.is_nan,
    matmul=tf.matmul,
    maximum=tf.maximum,
    mean=tf.reduce_mean,
    minimum=tf.minimum,
    # Of the same seed, it would repeat the even numbers.
    normal=lambda seed, shape: tf.random.stateless_normal(
        shape, tf.random.experimental.stateless_fold_in(seed, 1)
    ),
    pad=tf.pad,
    reshape=tf.reshape,
    shape=_shape,
    sign=tf.sign,
    sin=tf.sin,
    solve=tf.linalg.solve,
    sort=tf.sort,
    sqrt=tf.sqrt,
    stack=tf.stack,
    sum=tf.reduce_sum,
    svd=_svd,
    take=tf.gather,
    uniform=lambda seed, shape: tf.random.stateless_uniform(shape, seed, -1.0, 1.0),
    where=tf.where,
)


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decodes PNG, JPEG or BMP bytes, 8 or 16 bit, to grey values from 0 to 1.

    Colour becomes luma (ITU-R BT.601), alpha is dropped. JPEGs are decoded with the
    accurate transform: TensorFlow's default is off by up to 17 grey levels.

    Args:
        data: Scalar string tensor.

    Returns:
        float32 tensor `(height, width, 1)`, 1 for the format's largest number.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes are none of these formats or
            are damaged, or their header promises more than `MAX_DECODED_PIXELS`, or
            than `MAX_DECODED_SIDE` along one side.
    """
    head = tf.strings.substr(data, 0, 4)
    is_jpeg, is_png, is_bmp = _format(head)
    known = tf.debugging.Assert(
        is_jpeg | is_png | is_bmp,
        [
            "The image is not a PNG, JPEG or BMP file. Its first bytes are:",
            # As numbers: an error's text must be UTF-8.
            tf.io.decode_raw(head, tf.uint8),
        ],
        summarize=4,
    )

    def jpeg():
        image = tf.io.decode_jpeg(data, channels=1, dct_method="INTEGER_ACCURATE")
        return tf.cast(image, tf.float32) / 255.0

    def png():
        # Eight bits become sixteen exactly: v * 257 / 65535 = v / 255.
        image = tf.io.decode_png(data, channels=0, dtype=tf.uint16)
        return _grey(tf.cast(image, tf.float32) / 65535.0)

    def bmp():
        image = tf.io.decode_bmp(data, channels=0)
        return tf.cond(
            tf.shape(image)[-1] == 1,
            lambda: _bmp_palette(data, image),
            lambda: _grey(tf.cast(image, tf.float32) / 255.0),
        )

    with tf.control_dependencies([known]):
        size = promised_size(data)
    limits = (
        f"The image has more than {MAX_DECODED_PIXELS} pixels or {MAX_DECODED_SIDE} "
        "along a side, rows and columns:"
    )
    small = tf.debugging.Assert(
        (tf.reduce_prod(tf.cast(size, tf.float32)) <= MAX_DECODED_PIXELS)
        & (tf.reduce_max(size) <= MAX_DECODED_SIDE),
        [limits, size],
    )
    with tf.control_dependencies([small]):
        image = tf.cond(is_jpeg, jpeg, lambda: tf.cond(is_png, png, bmp))
    return tf.ensure_shape(image, (None, None, 1))


def promised_size(data: tf.Tensor) -> tf.Tensor:
    """Returns rows and columns by the header of PNG, JPEG or BMP bytes, `(2,)`.

    Nothing is decoded. They mean nothing where the header is cut off or another's.

    Raises:
        tf.errors.InvalidArgumentError: If it is the damaged header of a JPEG.
    """
    is_jpeg, is_png, _ = _format(data)
    head = tf.strings.join([tf.strings.substr(data, 0, 26), b"\0" * 26])

    def at(begin, little_endian):
        part = tf.strings.substr(head, begin, 8)
        columns_rows = tf.io.decode_raw(part, tf.int32, little_endian=little_endian)
        return tf.abs(tf.ensure_shape(columns_rows, (2,))[::-1])

    return tf.cond(
        is_jpeg,
        lambda: tf.io.extract_jpeg_shape(data)[:2],
        lambda: tf.cond(is_png, lambda: at(16, False), lambda: at(18, True)),
    )


def to_unit_range(image: tf.Tensor) -> tf.Tensor:
    """Brings integer pixels to 0..1 by the range of their type, floats unchanged."""
    if image.dtype.is_floating:
        return tf.cast(image, tf.float32)
    low, high = float(image.dtype.min), float(image.dtype.max)
    return (tf.cast(image, tf.float32) - low) / (high - low)


def grey_values(image: tf.Tensor, normalization: str = "range") -> tf.Tensor:
    """Returns pixels as `reduce_image` takes them, from 0 to 1 or as they are stored.

    Windows are in stored values: a CT's in Hounsfield units.
    """
    if normalization == "window":
        return tf.cast(image, tf.float32)
    return to_unit_range(image)


def reduce_image(
    image: tf.Tensor,
    grid: Sequence[int],
    spacing: tf.Tensor,
    normalization: str = "range",
    limits: tuple[float, float] | None = None,
    grid_spacing: Sequence[float] | None = None,
) -> ReducedImage:
    """Smooths, thins out and normalises an image for a grid of a given size.

    Args:
        image: float32 `(*sizes, 1)`, see `grey_values`.
        grid: The sizes of the grid in array order.
        spacing: float32 `(D,)`, the spacing x, y(, z) of the image in mm. Where it is
            not usable, pixels count as squares.
        normalization: `"range"`, `"percentile"` or `"window"`, see `normalize`.
        limits: See `normalize`.
        grid_spacing: D floats, mm per pixel of the grid in x, y(, z): the grid is
            laid on the image's centre, larger or smaller than the image. `None`, and
            images without a usable spacing: the image is fitted into the grid.

    Raises:
        ValueError: If the image has not one axis for each of the grid, and a channel.
    """
    d, image = len(grid), tf.convert_to_tensor(image)
    if image.shape.rank not in (None, d + 1):
        raise ValueError(
            f"An image for the grid {tuple(grid)} has {d} axes and one channel. "
            f"Received: shape {tuple(image.shape)}"
        )
    shape = tf.shape(image)
    size = [tf.cast(shape[axis], tf.float32) for axis in reversed(range(d))]
    sides = [float(side) for side in reversed(grid)]
    calibrated = is_calibrated(spacing)
    spacing = tf.where(calibrated, spacing, tf.ones_like(spacing))
    scale, offset = letterbox(size, sides, tf.unstack(spacing))
    if grid_spacing is not None:
        scale = tf.unstack(
            tf.where(
                calibrated,
                tf.constant(grid_spacing, tf.float32) / spacing,
                tf.stack(scale),
            )
        )
        offset = [
            (s - 1.0) * 0.5 - k * (g - 1.0) * 0.5
            for s, g, k in zip(size, sides, scale, strict=True)
        ]
    # Kernels would grow with an absurd spacing: ten times what square pixels ask for,
    # and a fourth of a pixel of the grid for the whole of a long side.
    most = 10.0 * tf.reduce_max(tf.stack(size)) / min(sides)
    reduction = [
        tf.minimum(s, tf.minimum(most, tf.maximum(4.0 * length, 64.0)))
        for s, length in zip(scale, size, strict=True)
    ]
    # Graph optimisation may turn a division into a product, off by one in the last
    # digit. A reduction by exactly 2, 4, 6 … must not fall to either side of the
    # step for that, hence the odd little number.
    steps = [
        tf.maximum(tf.cast(tf.floor(s * 0.5 + 1.2345e-3), tf.int32), 1)
        for s in reduction
    ]
    # Zeros stay zeros, whatever the order of the sums: where nothing is to be seen,
    # heatmaps are as flat in one runtime as in the other.
    corner = tf.reshape(image, [-1])[0]
    # What lies around a volume may be NaN or a huge number: all would be lost with it.
    corner = tf.where(tf.abs(corner) < 1e5, corner, 0.0)
    image = image - corner
    for k, (s, step) in enumerate(zip(reduction, steps, strict=True)):
        # As in scikit-image: half of what the pixel grows by.
        image = _smooth(image, d - 1 - k, tf.maximum(s - 1.0, 0.0) * 0.5, step)
    return ReducedImage(
        normalize(image + corner, normalization, limits),
        _scale_and_offset([tf.cast(step, tf.float32) for step in steps], [0.0] * d),
        _scale_and_offset(scale, offset),
        tf.stack(size),
    )


def normalize(
    image: tf.Tensor, method: str, limits: tuple[float, float] | None = None
) -> tf.Tensor:
    """Brings grey values to about -1..1.

    Args:
        image: float32 `(*sizes, 1)`, from 0 to 1 except for `"window"`.
        method: `"range"` maps the full range of the pixel type to -1..1, as the
            reference does for cephalograms; `"percentile"` maps the 1st percentile
            to -1 and the 99th to 1 and clips there, for images of unlike exposure;
            `"window"` does so with two grey values, for CT.
        limits: Two floats: the shares instead of 0.01 and 0.99 for `"percentile"`, the
            grey values for `"window"`.
    """
    if method == "range":
        return image * 2.0 - 1.0
    if method not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {NORMALIZATIONS}. Received: {method!r}"
        )
    if method == "window":
        if limits is None:
            raise ValueError('The normalization "window" needs its two grey values.')
        low, high = tf.unstack(tf.constant(limits, tf.float32))
    else:
        # 4,096 pixels or more tell the percentiles of a radiograph well enough.
        d = image.shape.rank - 1
        sizes, count = tf.shape(image), round(4096 ** (1 / d))
        thinned = image[
            tuple(
                slice(None, None, tf.maximum(sizes[axis] // count, 1))
                for axis in range(d)
            )
        ]
        values = tf.sort(tf.reshape(thinned, [-1]))
        last = tf.cast(tf.size(values) - 1, tf.float32)
        low, high = (
            values[tf.cast(tf.round(last * share), tf.int32)]
            for share in limits or (0.01, 0.99)
        )
    scaled = tf.math.divide_no_nan(image - low, high - low) * 2.0 - 1.0
    return tf.clip_by_value(scaled, -1.0, 1.0)


def to_grid(
    reduced: ReducedImage, grid: Sequence[int], to_source: tf.Tensor | None = None
) -> tf.Tensor:
    """Brings a reduced image to the grid by an affine, or by the letterbox alone.

    Args:
        reduced: `ReducedImage`.
        grid: The sizes of the grid in array order.
        to_source: float32 `(D + 1, D + 1)`, from the grid to the source image; `None`
            for the letterbox.
    """
    if to_source is None:
        to_source = reduced.grid_to_source
    affine = to_reduced(reduced, to_source, TENSORFLOW)
    image = warp.pad_border(reduced.image[..., 0], len(grid), OUTSIDE, TENSORFLOW)
    places = warp.lattice(affine, grid, arrays=TENSORFLOW)
    return warp.interpolate(image, places, TENSORFLOW)[..., None]


def flatten(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns an image `(*sizes, 1)` as `warp.interpolate` takes it flat.

    Its length is one of few, at most a fourth more than needed: of images of all
    sizes, a program is compiled for some ten lengths.

    Returns:
        `(flat, sizes)`, float32 `(n,)` and int32 `(D,)`, with a border.
    """
    d = image.shape.rank - 1
    image = warp.pad_border(image[..., 0], d, OUTSIDE, TENSORFLOW)
    count = tf.size(image)
    bits = tf.math.log(tf.cast(count, tf.float32)) / math.log(2.0)
    unit = tf.bitwise.left_shift(1, tf.maximum(tf.cast(bits, tf.int32) - 2, 0))
    rest = tf.math.floormod(-count, unit)
    return tf.pad(tf.reshape(image, [-1]), [[0, rest]]), tf.shape(image)


def spacing_of(affine: tf.Tensor) -> tf.Tensor:
    """Returns the spacing x, y(, z) of an affine `(D + 1, D + 1)` as it is."""
    return tf.norm(affine[:-1, :-1], axis=0)


def is_calibrated(spacing: tf.Tensor) -> tf.Tensor:
    """Tells whether a spacing `(..., D)` is one: from a nanometre to a kilometre.

    What is beyond is no spacing of a patient, and its products would not be finite.
    """
    return tf.reduce_all((spacing > 1e-6) & (spacing < 1e6), axis=-1, keepdims=True)


def _format(data):
    """Whether it begins as a JPEG, a PNG, a BMP."""
    starts = (tf.strings.substr(data, 0, len(s)) == s for s in (_JPEG, _PNG, _BMP))
    return tuple(starts)


def _grey(image):
    channels = tf.shape(image)[-1]
    luma = tf.constant([0.299, 0.587, 0.114])
    return tf.cond(
        channels >= 3,
        lambda: tf.reduce_sum(image[..., :3] * luma, axis=-1, keepdims=True),
        lambda: image[..., :1],
    )


def _bmp_palette(data, index):
    """Looks up the colours of an 8-bit BMP, which TensorFlow leaves out.

    The file header is 14 bytes, the size of the next one stands at its beginning.
    After both come the colours (blue, green, red, 0) up to where the pixels begin.
    """

    def number(at):
        return tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32)[0]

    begin = 14 + number(14)
    length = tf.maximum((number(10) - begin) // 4 * 4, 0)
    colors = tf.io.decode_raw(tf.strings.substr(data, begin, length), tf.uint8)
    colors = tf.cast(tf.reshape(colors, [-1, 4]), tf.float32) / 255.0
    levels = _grey(colors[:, 2::-1])[:, 0]
    return tf.gather(levels, tf.cast(index, tf.int32))


def _smooth(image, axis, sigma, step):
    """Smooths one axis with a Gaussian, keeping every `step`-th pixel."""
    shape, d = tf.shape(image), image.shape.rank - 1
    length = shape[axis]
    kept = (length + 2 * step - 2) // step  # one beyond the edge, if step > 1
    outer, inner = tf.reduce_prod(shape[:axis]), tf.reduce_prod(shape[axis + 1 :])
    # As products of matrices, several times as fast as a convolution of one channel,
    # and nothing is computed that is not kept: a block of pixels has a part in the 16
    # pixels that are kept of it, and in the 16 before. A kernel is not longer than the
    # block and a step, since steps are at least a half of the reduction, rounded down.
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
    """Returns the radius of a Gaussian, and it as two matrices `(kept, block)`.

    The first is the part of a block in what is kept of it, the second that in what is
    kept of the block before.
    """
    radius = tf.cast(tf.floor(4.0 * sigma + 0.5 + 1.2345e-3), tf.int32)
    taps = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    kernel = tf.exp(-0.5 * tf.square(taps / tf.maximum(sigma, 1e-3)))
    kernel = kernel / tf.reduce_sum(kernel)
    kept, last = tf.range(_KEPT_OF_BLOCK)[:, None], 2 * radius

    def part(pixels):
        tap = pixels - kept * step
        value = tf.gather(kernel, tf.clip_by_value(tap, 0, last))
        return tf.where((tap >= 0) & (tap <= last), value, 0.0)

    pixels = tf.range(_KEPT_OF_BLOCK * step)
    return radius, part(pixels), part(pixels + _KEPT_OF_BLOCK * step)


def _scale_and_offset(scale, offset):
    d = len(scale)
    linear = tf.linalg.diag(tf.stack([*scale, 1.0]))
    return linear + tf.pad(tf.stack([*offset, 0.0])[:, None], [[0, 0], [d, 0]])
