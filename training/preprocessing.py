"""From a file's bytes to the network's grid, in TensorFlow graphs of any size.

Training, evaluation, prediction and the exported SavedModel call these functions and
no others, so that the model that is served is the model that was measured. An image
is reduced in three steps, only the last of which interpolates:

1. `reduce_image`: Gaussian smoothing, as wide as the reduction asks for, evaluated at
   every n-th pixel, where n leaves at least two pixels to a pixel of the grid;
2. `normalize`: grey values to about -1..1;
3. `warp`: one linear interpolation at the places that the grid's pixels have in the
   reduced image, wherever letterbox, augmentation (or a deformation) put them.
"""

from typing import NamedTuple

import tensorflow as tf

from scn_keras.geometry import letterbox

NORMALIZATIONS = ("range", "percentile")
OUTSIDE = -1.0  # what lies around the image: black

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG"
_BMP = b"BM"


class ReducedImage(NamedTuple):
    """A smoothed, thinned-out, normalised image and where its pixels lie.

    Attributes:
        image: float32 `(h, w, 1)`, about -1 to 1.
        to_source: float32 `(3, 3)`, from its pixels to those of the source image.
        grid_to_source: float32 `(3, 3)`, the letterbox: from pixels of the grid to
            those of the source image.
    """

    image: tf.Tensor
    to_source: tf.Tensor
    grid_to_source: tf.Tensor


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
            are damaged.
    """
    head = tf.strings.substr(data, 0, 4)
    is_jpeg = tf.strings.substr(head, 0, 3) == _JPEG
    is_png = head == _PNG
    is_bmp = tf.strings.substr(head, 0, 2) == _BMP
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
        image = tf.cond(is_jpeg, jpeg, lambda: tf.cond(is_png, png, bmp))
    return tf.ensure_shape(image, (None, None, 1))


def to_unit_range(image: tf.Tensor) -> tf.Tensor:
    """Brings integer pixels to 0..1 by the range of their type, floats unchanged."""
    if image.dtype.is_floating:
        return tf.cast(image, tf.float32)
    return tf.cast(image, tf.float32) / float(image.dtype.max)


def reduce_image(
    image: tf.Tensor,
    grid: tuple[int, int],
    aspect: tf.Tensor,
    normalization: str = "range",
) -> ReducedImage:
    """Smooths, thins out and normalises an image for a grid of a given size.

    Args:
        image: float32 `(height, width, 1)` from 0 to 1.
        grid: `(rows, columns)` of the grid.
        aspect: float32 `(2,)`, the spacing (x, y) of the image up to a factor.
        normalization: `"range"` or `"percentile"`, see `normalize`.
    """
    shape = tf.shape(image)
    size = (tf.cast(shape[1], tf.float32), tf.cast(shape[0], tf.float32))
    scale, offset = letterbox(
        size, (float(grid[1]), float(grid[0])), (aspect[0], aspect[1])
    )
    # Graph optimisation may turn a division into a product, off by one in the last
    # digit. A reduction by exactly 2, 4, 6 … must not fall to either side of the
    # step for that, hence the odd little number.
    steps = [
        tf.maximum(tf.cast(tf.floor(s * 0.5 + 1.2345e-3), tf.int32), 1) for s in scale
    ]
    for axis, s, step in ((1, scale[0], steps[0]), (0, scale[1], steps[1])):
        # As in scikit-image: half of what the pixel grows by.
        image = _smooth(image, axis, tf.maximum(s - 1.0, 0.0) * 0.5, step)
    kx, ky = (tf.cast(step, tf.float32) for step in steps)
    return ReducedImage(
        normalize(image, normalization),
        _scale_and_offset((kx, ky), (0.0, 0.0)),
        _scale_and_offset(scale, offset),
    )


def normalize(image: tf.Tensor, method: str) -> tf.Tensor:
    """Brings grey values from 0..1 to about -1..1.

    Args:
        image: float32 `(h, w, 1)`.
        method: `"range"` maps the full range of the pixel type to -1..1, as the
            reference does for cephalograms; `"percentile"` maps the 1st percentile
            to -1 and the 99th to 1 and clips there, for images of unlike exposure.
    """
    if method == "range":
        return image * 2.0 - 1.0
    if method != "percentile":
        raise ValueError(
            f"`normalization` must be one of {NORMALIZATIONS}. Received: {method!r}"
        )
    # 64 by 64 pixels or more tell the percentiles of a radiograph well enough.
    shape = tf.shape(image)
    values = tf.sort(
        tf.reshape(
            image[:: tf.maximum(shape[0] // 64, 1), :: tf.maximum(shape[1] // 64, 1)],
            [-1],
        )
    )
    last = tf.cast(tf.size(values) - 1, tf.float32)
    low, high = (
        values[tf.cast(tf.round(last * share), tf.int32)] for share in (0.01, 0.99)
    )
    scaled = tf.math.divide_no_nan(image - low, high - low) * 2.0 - 1.0
    return tf.clip_by_value(scaled, -1.0, 1.0)


def grid_coordinates(affine: tf.Tensor, grid: tuple[int, int]) -> tf.Tensor:
    """Maps every pixel of the grid through an affine: `(rows, columns, 2)`, x and y.

    A deformation is a field of the same shape to add to the result.
    """
    rows, columns = grid
    x = tf.range(columns, dtype=tf.float32)[None, :, None]
    y = tf.range(rows, dtype=tf.float32)[:, None, None]
    return x * affine[:2, 0] + y * affine[:2, 1] + affine[:2, 2]


def warp(
    image: tf.Tensor, coordinates: tf.Tensor, outside: float = OUTSIDE
) -> tf.Tensor:
    """Interpolates an image linearly at given places.

    Args:
        image: float32 `(h, w, 1)`.
        coordinates: float32 `(rows, columns, 2)`, x and y in pixels of the image.
        outside: Float, the value around the image; places less than a pixel from
            the border are a blend, as SciPy's `grid-constant`.

    Returns:
        float32 `(rows, columns, 1)`.
    """
    image = tf.pad(
        image[..., 0], [[1, 1], [1, 1]], constant_values=tf.cast(outside, image.dtype)
    )
    shape = tf.shape(image)
    limit = tf.cast([shape[1] - 2, shape[0] - 2], tf.float32)
    # One pixel of border on all sides; farther out is the same as on it.
    place = tf.clip_by_value(coordinates + 1.0, 0.0, limit + 1.0)
    corner = tf.minimum(tf.floor(place), limit)
    weight = place - corner
    corner = tf.cast(corner, tf.int32)
    flat = tf.reshape(image, [-1])
    first = corner[..., 1] * shape[1] + corner[..., 0]
    wx, wy = weight[..., 0], weight[..., 1]
    top = tf.gather(flat, first) * (1.0 - wx) + tf.gather(flat, first + 1) * wx
    first = first + shape[1]
    bottom = tf.gather(flat, first) * (1.0 - wx) + tf.gather(flat, first + 1) * wx
    return (top * (1.0 - wy) + bottom * wy)[..., None]


def to_grid(reduced: ReducedImage, grid: tuple[int, int]) -> tf.Tensor:
    """Brings a reduced image to the grid by the letterbox alone."""
    affine = to_reduced(reduced, reduced.grid_to_source)
    return warp(reduced.image, grid_coordinates(affine, grid))


def to_reduced(reduced: ReducedImage, to_source: tf.Tensor) -> tf.Tensor:
    """Turns an affine into the source image into one into the reduced image."""
    # `to_source` of the reduced image is diagonal. A matrix product would lose digits
    # where the exported graph runs on a GPU, see `apply_affine`.
    return to_source / tf.linalg.diag_part(reduced.to_source)[:, None]


def aspect_of(affine: tf.Tensor) -> tf.Tensor:
    """Returns the spacing (x, y) of an affine, ones where it is not usable."""
    spacing = tf.norm(affine[:2, :2], axis=0)
    return tf.where(is_calibrated(spacing), spacing, tf.ones_like(spacing))


def is_calibrated(spacing: tf.Tensor) -> tf.Tensor:
    """Tells whether a spacing (x, y) in mm is one: positive and finite, `(..., 2)`."""
    return tf.reduce_all(
        (spacing > 0.0) & tf.math.is_finite(spacing), axis=-1, keepdims=True
    )


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
    length = tf.shape(image)[axis]
    radius = tf.cast(tf.floor(4.0 * sigma + 0.5 + 1.2345e-3), tf.int32)
    taps = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    kernel = tf.exp(-0.5 * tf.square(taps / tf.maximum(sigma, 1e-3)))
    kernel = kernel / tf.reduce_sum(kernel)
    # The border is replicated; a step more of it lets the kept pixels reach the edge.
    index = tf.range(-radius, length + radius + step - 1)
    image = tf.gather(image, tf.clip_by_value(index, 0, length - 1), axis=axis)
    kernel = tf.reshape(kernel, [-1, 1, 1, 1] if axis == 0 else [1, -1, 1, 1])
    # `tf.nn.conv2d` takes its stride as a constant, and this step is not one.
    image = tf.nn.conv2d(image[None], kernel, strides=1, padding="VALID")[0]
    return image[::step] if axis == 0 else image[:, ::step]


def _scale_and_offset(scale, offset):
    linear = tf.linalg.diag(tf.stack([*scale, 1.0]))
    return linear + tf.pad(tf.stack([*offset, 0.0])[:, None], [[0, 0], [2, 0]])
