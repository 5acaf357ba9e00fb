"""Decodes the bytes of image files to grey values, in TensorFlow graphs."""

import tensorflow as tf

from scn_keras.files.image_kinds import BMP, JPEG, PNG

# 8192 x 8192 pixels, more than the largest radiographs. The header of a JPEG of 400
# bytes can declare six times as many pixels, which are decoded to gigabytes of grey.
MAX_DECODED_PIXELS, MAX_DECODED_SIDE = 2**26, 2**14


def decode_image(data: tf.Tensor) -> tf.Tensor:
    """Decodes PNG, JPEG or BMP bytes, 8 or 16 bit, to grey values from 0 to 1.

    Colours are converted to luma (ITU-R BT.601), and an alpha channel is ignored. JPEGs
    are decoded with the accurate transform, because TensorFlow's default has errors of
    up to 17 grey levels.

    Args:
        data: Scalar string tensor.

    Returns:
        float32 tensor `(height, width, 1)`, where 1 is the format's largest value.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes have none of these formats or are
            damaged, or if their header declares more than `MAX_DECODED_PIXELS` pixels,
            or more than `MAX_DECODED_SIDE` along one side.
    """
    head = tf.strings.substr(data, 0, 4)
    is_jpeg, is_png, is_bmp = _format(head)
    known = tf.debugging.Assert(
        is_jpeg | is_png | is_bmp,
        [
            "The image is not a PNG, JPEG or BMP file. Its first bytes are:",
            # As numbers, because the text of an error must be UTF-8.
            tf.io.decode_raw(head, tf.uint8),
        ],
        summarize=4,
    )

    def jpeg():
        image = tf.io.decode_jpeg(data, channels=1, dct_method="INTEGER_ACCURATE")
        return tf.cast(image, tf.float32) / 255.0

    def png():
        # The conversion of 8 to 16 bits is exact: v * 257 / 65535 = v / 255.
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
    """Returns rows and columns from the header of PNG, JPEG or BMP bytes, `(2,)`.

    The image is not decoded. The result is meaningless if the header is truncated or
    belongs to another format.

    Raises:
        tf.errors.InvalidArgumentError: If the header of a JPEG is damaged.
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
    """Scales integer pixels to 0..1 by the range of their type, and keeps floats."""
    if image.dtype.is_floating:
        return tf.cast(image, tf.float32)
    low, high = float(image.dtype.min), float(image.dtype.max)
    return (tf.cast(image, tf.float32) - low) / (high - low)


def grey_values(image: tf.Tensor, normalization: str = "range") -> tf.Tensor:
    """Returns the grey values for `reduce_image`.

    They are scaled to the range 0 to 1. For the normalization `"window"` they remain
    stored values, such as the Hounsfield units of CT.
    """
    if normalization == "window":
        return tf.cast(image, tf.float32)
    return to_unit_range(image)


def _format(data):
    """Returns whether bytes are a JPEG, a PNG or a BMP, by their signatures."""
    matches = (tf.strings.substr(data, 0, len(s)) == s for s in (JPEG, PNG, BMP))
    return tuple(matches)


def _grey(image):
    channels = tf.shape(image)[-1]
    luma = tf.constant([0.299, 0.587, 0.114])
    return tf.cond(
        channels >= 3,
        lambda: tf.reduce_sum(image[..., :3] * luma, axis=-1, keepdims=True),
        lambda: image[..., :1],
    )


def _bmp_palette(data, index):
    """Applies the colour table of an 8-bit BMP, which TensorFlow ignores.

    The file header has 14 bytes. The next header begins with its own size. The colour
    table (blue, green, red, 0) follows both headers and ends where the pixels begin.
    """

    def number(at):
        return tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32)[0]

    begin = 14 + number(14)
    length = tf.maximum((number(10) - begin) // 4 * 4, 0)
    colors = tf.io.decode_raw(tf.strings.substr(data, begin, length), tf.uint8)
    colors = tf.cast(tf.reshape(colors, [-1, 4]), tf.float32) / 255.0
    levels = _grey(colors[:, 2::-1])[:, 0]
    return tf.gather(levels, tf.cast(index, tf.int32))
