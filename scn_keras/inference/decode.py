"""From the bytes of a file to grey values, in TensorFlow graphs."""

import tensorflow as tf

from scn_keras.files.image_kinds import BMP, JPEG, PNG

# Above the largest radiographs; 8192 x 8192. A JPEG of 400 bytes can promise six times
# as many pixels, and is decoded to gigabytes of grey.
MAX_DECODED_PIXELS, MAX_DECODED_SIDE = 2**26, 2**14


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


def _format(data):
    """Whether it begins as a JPEG, a PNG, a BMP."""
    starts = (tf.strings.substr(data, 0, len(s)) == s for s in (JPEG, PNG, BMP))
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
