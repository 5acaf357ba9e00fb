"""Decodes the bytes of image files to grey values, in TensorFlow graphs."""

import tensorflow as tf

from scn_keras.inference._file_header import (
    FileHeader,
    bmp_without_rest,
    file_format,
    read_file_header,
)

# Of one image, decoded: 5792 x 5792 pixels of 16 bits, more than those of detectors.
# The header of a JPEG of 400 bytes can promise gigabytes. Further steps take about 12
# bytes a pixel, therefore each counts at least two (docs/security.md).
MAX_IMAGE_BYTES, MIN_PIXEL_BYTES = 2**26, 2
MAX_DECODED_SIDE = 2**14
# The limit of exported models of version 0.1.
MAX_DECODED_PIXELS = 2**26

# ITU-R BT.601, in thousandths, so that all decoders round alike.
_LUMA, _LUMA_PARTS = (299, 587, 114), 16


def decode_image(
    data: tf.Tensor,
    max_bytes: int = MAX_IMAGE_BYTES,
    refuse_orientation: bool = True,
) -> tf.Tensor:
    """Decodes PNG, JPEG or BMP bytes, 8 or 16 bit, to grey values from 0 to 1.

    Colours are converted to luma (ITU-R BT.601), rounded to a grey level of the file,
    and an alpha channel is ignored. JPEGs are decoded with the accurate transform,
    because TensorFlow's default has errors of up to 17 grey levels. The values are
    those of `files.read_image`, of JPEGs within one grey level.

    Args:
        data: Scalar string tensor.
        max_bytes: Int, the largest image that is decoded: rows x columns x bytes per
            pixel, where a pixel counts at least `MIN_PIXEL_BYTES`.
        refuse_orientation: Bool, whether a file with an orientation tag other than 1 is
            refused. Otherwise, its pixels are used as they are stored.

    Returns:
        float32 tensor `(height, width, 1)`, where 1 is the format's largest value.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes have none of these formats, have a
            form that is not read (see `files.image_forms`) or are damaged, or if their
            header declares more than `max_bytes`, or more than `MAX_DECODED_SIDE`
            pixels along one side.
    """
    is_jpeg, is_png, is_bmp = file_format(data)
    head = tf.strings.substr(data, 0, 4)
    known = tf.debugging.Assert(
        is_jpeg | is_png | is_bmp,
        [
            "The image is not a PNG, JPEG or BMP file. Its first bytes are:",
            # As numbers, because the text of an error must be UTF-8.
            tf.io.decode_raw(head, tf.uint8),
        ],
        summarize=4,
    )
    with tf.control_dependencies([known]):
        header = read_file_header(data)
    with tf.control_dependencies(_checks(header, max_bytes, refuse_orientation)):
        data = tf.identity(data)
    image = tf.cond(
        is_jpeg,
        lambda: _jpeg(data, header),
        lambda: tf.cond(is_png, lambda: _png(data, header), lambda: _bmp(data, header)),
    )
    return tf.ensure_shape(image, (None, None, 1))


def image_bytes(data: tf.Tensor) -> tf.Tensor:
    """Returns how many bytes decoding a file takes, int64, see `decode_image`.

    The image is not decoded.

    Args:
        data: Scalar string tensor.
    """
    return _image_bytes(read_file_header(data))


def promised_size(data: tf.Tensor) -> tf.Tensor:
    """Returns rows and columns from the header of PNG, JPEG or BMP bytes, `(2,)`.

    The image is not decoded. The result is meaningless if the header is truncated or
    belongs to another format.

    Args:
        data: Scalar string tensor.
    """
    return read_file_header(data).size


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


def _checks(header: FileHeader, max_bytes: int, refuse_orientation: bool):
    """Returns operations that raise an error of one sentence."""
    checks = [
        tf.debugging.Assert(
            header.problem == "", ["The image cannot be used:", header.problem]
        ),
        tf.debugging.Assert(
            (_image_bytes(header) <= max_bytes)
            & (tf.reduce_max(header.size) <= MAX_DECODED_SIDE),
            [
                f"The image has more than {max_bytes} bytes when it is decoded, or "
                f"more than {MAX_DECODED_SIDE} pixels along a side. Make it smaller. "
                "Its bytes, rows and columns are:",
                _image_bytes(header),
                header.size,
            ],
        ),
    ]
    if refuse_orientation:
        upright = tf.debugging.Assert(
            header.orientation == 1,
            [
                "The image has an orientation tag, so that viewers turn it. Write a "
                "turned copy with `scn-keras turn`. Its tag is:",
                header.orientation,
            ],
        )
        checks.append(upright)
    return checks


def _image_bytes(header):
    each = tf.maximum(header.bytes_per_pixel, MIN_PIXEL_BYTES)
    return header.size[0] * header.size[1] * each


def _jpeg(data, header):
    def decode(channels):
        return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")

    # TensorFlow converts four colours to three only.
    image = tf.cond(header.channels == 4, lambda: _grey(decode(3)), lambda: decode(1))
    return tf.cast(image, tf.float32) / 255.0


def _png(data, header):
    def decode(dtype):
        grey = _grey(tf.io.decode_png(data, channels=0, dtype=dtype))
        return tf.cast(grey, tf.float32) / float(dtype.max)

    return tf.cond(
        header.bits == 16, lambda: decode(tf.uint16), lambda: decode(tf.uint8)
    )


def _bmp(data, header):
    # The shape of the result is unknown, since TensorFlow takes the channels from it.
    data = bmp_without_rest(data, header)
    image = tf.io.decode_bmp(data, channels=0)
    grey = tf.cond(
        header.channels == 1, lambda: _bmp_palette(data, image), lambda: _grey(image)
    )
    return tf.cast(grey, tf.float32) / 255.0


def _grey(image):
    """Returns the luma of colours, or the first channel of grey with alpha."""
    channels = tf.shape(image)[-1]
    return tf.cond(
        channels == 1,
        lambda: image,  # a slice would be a copy
        lambda: tf.cond(
            channels >= 3, lambda: _luma_in_parts(image), lambda: image[..., :1]
        ),
    )


def _luma_in_parts(image):
    """Returns the luma `(rows, columns, 1)`, without 32-bit numbers of all pixels."""
    step = (tf.shape(image)[0] + _LUMA_PARTS - 1) // _LUMA_PARTS

    def compute(part, parts):
        luma = _luma(image[part * step : (part + 1) * step])
        return part + 1, parts.write(part, luma)

    _, parts = tf.while_loop(
        lambda part, _: part < _LUMA_PARTS,
        compute,
        (
            tf.constant(0),
            tf.TensorArray(
                image.dtype,
                _LUMA_PARTS,
                infer_shape=False,
                element_shape=(None, None, 1),
            ),
        ),
        parallel_iterations=1,
    )
    return parts.concat()


def _luma(colours):
    red, green, blue = (
        tf.cast(colours[..., channel, None], tf.int32) * weight
        for channel, weight in enumerate(_LUMA)
    )
    return tf.cast((red + green + blue + 500) // 1000, colours.dtype)


def _bmp_palette(data, index):
    """Applies the colour table of an 8-bit BMP, which TensorFlow ignores.

    The file header has 14 bytes. The next header begins with its own size. The colour
    table (blue, green, red, 0) follows both headers and ends where the pixels begin.
    """

    def number(at):
        return tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32)[0]

    begin = 14 + number(14)
    length = tf.clip_by_value((number(10) - begin) // 4 * 4, 0, 1024)
    colors = tf.io.decode_raw(tf.strings.substr(data, begin, length), tf.uint8)
    levels = _luma(tf.reshape(colors, [-1, 4])[:, 2::-1])[:, 0]
    levels = tf.pad(levels, [[0, 256 - tf.size(levels)]])  # others are black
    return tf.gather(levels, tf.cast(index, tf.int32))
