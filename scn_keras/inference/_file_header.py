"""Headers of JPEG, PNG and BMP files in TensorFlow graphs.

The rules are those of `scn_keras.files.image_forms`, which reads the same files in
Python, and both have the same grey values (docs/formats.md, "Images").
"""

from typing import NamedTuple

import tensorflow as tf

from scn_keras.files.image_kinds import (
    BMP,
    JPEG,
    MAX_COMPRESSED_TEXTS,
    MAX_SCANS,
    PNG,
)

_SAVE = "Save it as an 8- or 16-bit grey PNG file."
_MAX_SEGMENTS = 1_000  # a colour profile has 255 at most


class FileHeader(NamedTuple):
    """What the header of an image file promises, as scalar tensors.

    Attributes:
        size: int64 `(2,)`, rows and columns.
        bytes_per_pixel: int64, what decoding takes.
        bits: int32, of one channel.
        channels: int32, of a JPEG its components.
        orientation: int32, 1 to 8, see `files.orientation.read_orientation`.
        problem: string, why the form of the file is refused; empty if it is not.
    """

    size: tf.Tensor
    bytes_per_pixel: tf.Tensor
    bits: tf.Tensor
    channels: tf.Tensor
    orientation: tf.Tensor
    problem: tf.Tensor


def file_format(data: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns whether bytes are a JPEG, a PNG or a BMP, by their signatures."""
    matches = (tf.strings.substr(data, 0, len(s)) == s for s in (JPEG, PNG, BMP))
    return tuple(matches)


def read_file_header(data: tf.Tensor) -> FileHeader:
    """Reads the header of an image file without decoding it.

    Args:
        data: Scalar string tensor.

    Returns:
        A `FileHeader`. If the header is cut off or belongs to another format, its
        numbers mean nothing, and the decoder raises an error.
    """
    is_jpeg, is_png, _ = file_format(data)
    header = tf.cond(
        is_jpeg,
        lambda: tuple(_jpeg(data)),
        lambda: tf.cond(is_png, lambda: tuple(_png(data)), lambda: tuple(_bmp(data))),
    )
    header = FileHeader(*header)
    return header._replace(size=tf.ensure_shape(header.size, (2,)))


def _jpeg(data):
    length = tf.strings.length(data)

    def unfinished(at, done, *_):
        return ~done & (at + 4 <= length)

    def step(at, _, frame, transform, exif):
        kind = _bytes(data, at, 4)
        fill = kind[1] == 0xFF
        # The end of the file, or the pixels.
        done = (kind[0] != 0xFF) | (kind[1] == 0xD9) | (kind[1] == 0xDA)
        size = tf.where(fill, 0, kind[2] * 256 + kind[3])
        content = _bytes(data, at + 4, 12)
        is_frame = ~done & ~fill & (frame[0] == 0) & (kind[1] >= 0xC0)
        is_frame &= (kind[1] <= 0xCF) & tf.reduce_all(kind[1] != [0xC4, 0xC8, 0xCC])
        numbers = [kind[1], content[0], *_big(content[1:5]), content[5]]
        frame = tf.where(is_frame, tf.stack(numbers), frame)
        is_adobe = (kind[1] == 0xEE) & (size >= 14) & _equal(content, b"Adobe")
        transform = tf.where(is_adobe, content[11], transform)
        is_exif = (kind[1] == 0xE1) & (exif[1] == 0) & _equal(content, b"Exif\0\0")
        place = tf.stack([at + 10, tf.maximum(size - 8, 0)])
        exif = tf.where(~done & ~fill & is_exif, place, exif)
        return (
            at + tf.where(fill, 1, tf.maximum(size, 2) + 2),
            done,
            frame,
            transform,
            exif,
        )

    _, _, frame, transform, exif = tf.while_loop(
        unfinished,
        step,
        (
            tf.constant(2),
            tf.constant(False),
            tf.zeros(5, tf.int32),
            tf.constant(-1),
            tf.zeros(2, tf.int32),
        ),
        parallel_iterations=1,
        maximum_iterations=_MAX_SEGMENTS,
    )
    marker, bits, rows, columns, components = tf.unstack(frame)
    is_four = components == 4
    problem = _first(
        (
            (marker == 0, ""),  # damaged
            (
                (marker < 0xC0) | (marker > 0xC2),
                "it is not a baseline or progressive JPEG.",
            ),
            (bits != 8, "it is a JPEG of other than 8 bits."),
            (
                tf.reduce_all(components != [1, 3, 4]),
                "it is a JPEG of other than 1, 3 or 4 components.",
            ),
            (
                is_four & (transform != 0) & (transform != 2),
                "it is a JPEG of four colours without an Adobe segment.",
            ),
            (
                _count(data, b"\xff\xda") > MAX_SCANS,
                f"it is a JPEG of more than {MAX_SCANS} scans.",
            ),
        )
    )
    # The coefficients of a progressive JPEG are kept until the last scan.
    kept = tf.where(marker == 0xC2, 2 * components + 1, tf.where(is_four, 3, 1))
    orientation = _orientation(_part(data, exif[0], exif[1]))
    size = tf.cast(tf.stack([rows, columns]), tf.int64)
    return FileHeader(
        size, tf.cast(kept, tf.int64), bits, components, orientation, problem
    )


def _png(data):
    header = _bytes(data, 16, 10)
    columns, rows = _number(header[:4]), _number(header[4:8])
    bits, kind = header[8], header[9]
    # A palette is decoded to colours, possibly with alpha.
    channels = tf.gather([1, 1, 3, 4, 2, 1, 4, 1], tf.clip_by_value(kind, 0, 7))
    depth = tf.where(bits == 16, 2, 1)
    parts = tf.strings.split(data[None], "eXIf", maxsplit=1).values
    texts = _count(data, b"zTXt") + _count(data, b"iTXt")
    problem = _first(
        (
            (
                texts > MAX_COMPRESSED_TEXTS,
                f"it is a PNG with more than {MAX_COMPRESSED_TEXTS} compressed texts.",
            ),
        )
    )
    exif = tf.cond(
        tf.size(parts) > 1, lambda: tf.strings.substr(parts[-1], 0, 2**17), lambda: b""
    )
    return FileHeader(
        tf.stack([rows, columns]),
        tf.cast(channels * depth, tf.int64),
        bits,
        channels,
        _orientation(exif),
        problem,
    )


def _bmp(data):
    header = _bytes(data, 0, 66)
    info = _number(header[14:18], little=True)
    bits = header[28] + 256 * header[29]
    compression = _number(header[30:34], little=True)
    # A negative number of rows means that the first is on top.
    columns = _signed(_number(header[18:22], little=True))
    rows = _signed(_number(header[22:26], little=True))
    usual = tf.reduce_all(header[54:66] == [0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0])
    packed = (compression == 3) & (bits == 32)
    problem = _first(
        (
            (tf.strings.length(data) < 54, "its BMP header is cut off."),
            (
                tf.reduce_all(info != tf.constant([40, 52, 56, 108, 124], tf.int64)),
                "its BMP header is not one of Windows.",
            ),
            (
                (compression == 1) | (compression == 2),
                "it is a BMP of run-length coding.",
            ),
            (
                tf.reduce_all(bits != [8, 24, 32]),
                "it is not a BMP of 8, 24 or 32 bits.",
            ),
            ((compression != 0) & ~packed, "it is a BMP of a compression."),
            (packed & ~usual, "the channels of the BMP are not in the usual order."),
        )
    )
    channels = tf.maximum(bits // 8, 1)
    return FileHeader(
        tf.stack([tf.abs(rows), tf.abs(columns)]),
        tf.cast(channels, tf.int64),
        tf.constant(8),
        channels,
        tf.constant(1),
        problem,
    )


def bmp_without_rest(data: tf.Tensor, header: FileHeader) -> tf.Tensor:
    """Returns a BMP file without bytes behind its pixels, which TensorFlow refuses."""
    begin = _number(_bytes(data, 10, 4), little=True)
    bits = 8 * tf.cast(header.channels, tf.int64)
    row = (header.size[1] * bits + 31) // 32 * 4
    end = begin + row * header.size[0]
    is_whole = tf.debugging.Assert(
        tf.cast(tf.strings.length(data), tf.int64) >= end,
        ["The BMP is damaged: it has fewer bytes than its header promises:", end],
    )
    with tf.control_dependencies([is_whole]):
        end = tf.cast(end, tf.int32)
        has_rest = tf.strings.length(data) > end
        # The part is a copy.
        return tf.cond(has_rest, lambda: tf.strings.substr(data, 0, end), lambda: data)


def _orientation(exif):
    """Returns tag 274 of the first directory of EXIF data, 1 if there is none."""
    values = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    length = tf.size(values, tf.int64)
    values = tf.pad(values, [[0, 32]])
    little = values[0] == 0x49
    known = _equal(values, b"II*\0") | _equal(values, b"MM\0*")

    def number(at, count):
        # Offsets beyond the end are those of the padding, which is 0.
        at = tf.minimum(tf.maximum(at, 0), length + 16)
        parts = [tf.gather(values, at + k) for k in range(count)]
        return tf.where(little, _weighted(parts[::-1]), _weighted(parts))

    begin = number(tf.constant(4, tf.int64), 4)
    count = tf.minimum(number(begin, 2), 2**12)
    entries = begin + 2 + 12 * tf.range(count)
    entries = tf.boolean_mask(entries, entries + 12 <= length)
    kind = number(entries + 2, 2)
    value = tf.where(
        kind == 3,
        number(entries + 8, 2),
        tf.where(kind == 4, number(entries + 8, 4), number(entries + 8, 1)),
    )
    one_byte = (kind == 1) | (kind == 2)
    matches = (number(entries, 2) == 274) & (one_byte | (kind == 3) | (kind == 4))
    # A number after them, for files without the tag.
    value = tf.concat([tf.boolean_mask(value, matches), [1]], axis=0)[0]
    is_valid = known & (value >= 1) & (value <= 8)
    return tf.cast(tf.where(is_valid, value, 1), tf.int32)


def _count(data, text):
    return tf.size(tf.strings.split(data[None], text).values) - 1


def _part(data, begin, length):
    begin = tf.minimum(begin, tf.strings.length(data))
    return tf.strings.substr(data, begin, length)


def _bytes(data, begin, count):
    """Returns bytes as int32 `(count,)`, zeros behind the end of the file."""
    part = tf.strings.join([_part(data, begin, count), b"\0" * count])
    part = tf.strings.substr(part, 0, count)
    return tf.cast(
        tf.ensure_shape(tf.io.decode_raw(part, tf.uint8), (count,)), tf.int32
    )


def _weighted(parts):
    result = parts[0]
    for part in parts[1:]:
        result = result * 256 + part
    return result


def _number(values, little=False):
    parts = tf.unstack(tf.cast(values, tf.int64))
    return _weighted(parts[::-1] if little else parts)


def _signed(number):
    return tf.where(number >= 2**31, number - 2**32, number)


def _big(values):
    """Returns two big-endian numbers of 16 bits."""
    return values[0] * 256 + values[1], values[2] * 256 + values[3]


def _equal(values, text):
    return tf.reduce_all(values[: len(text)] == tf.cast([*text], values.dtype))


def _first(conditions):
    """Returns the text of the first condition that is met, with the advice."""
    problem = tf.constant("")
    for condition, text in reversed(conditions):
        text = f"{text} {_SAVE}" if text else ""
        problem = tf.where(condition, text, problem)
    return problem
