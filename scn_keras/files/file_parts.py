"""The parts of JPEG, PNG and TIFF files, without their pixels."""

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from scn_keras.files.image_kinds import BIG_TIFF

# A file of more parts than this was not written by a camera or a scanner.
MAX_PARTS = 100_000

_Read = Callable[[int, int], bytes]
# The `struct` formats of the types of TIFF 6.0, section 2, of numbers and text.
_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}


class Part(NamedTuple):
    """A segment of a JPEG file or a chunk of a PNG file.

    Attributes:
        kind: Bytes, the second byte of a JPEG marker or the name of a PNG chunk.
        begin: Int, the offset of the content.
        length: Int, the length of the content in bytes.
    """

    kind: bytes
    begin: int
    length: int


class Tag(NamedTuple):
    """The numbers of a tag in a TIFF directory.

    Attributes:
        values: Tuple of int; of text, its bytes.
        begin: Int, the offset of the first number.
        form: Str, the `struct` format of one number, with its byte order.
    """

    values: tuple[int, ...]
    begin: int
    form: str


def jpeg_segments(file: BinaryIO) -> Iterator[Part]:
    """Yields the segments of a JPEG file before its first scan, and that scan's start.

    Args:
        file: Binary file.
    """
    at = 2
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # a fill byte
            at += 1
            continue
        if head[1] == 0xD9:
            return
        length = max(struct.unpack(">H", head[2:])[0] - 2, 0)
        yield Part(head[1:2], at + 4, length)
        if head[1] == 0xDA:
            return
        at += 4 + length


def png_chunks(file: BinaryIO) -> Iterator[Part]:
    """Yields the chunks of a PNG file.

    Args:
        file: Binary file.

    Raises:
        ValueError: If there are too many.
    """
    at = 8
    for _ in range(MAX_PARTS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield Part(kind, at + 8, length)
        at += 12 + length
    raise ValueError(f"more than {MAX_PARTS:,} PNG chunks")


def tiff_tags(read: _Read) -> dict[int, Tag]:
    """Returns the tags of whole numbers in the first directory of a TIFF file.

    Args:
        read: Callable from an offset and a size to bytes, fewer at the end of the file.

    Returns:
        Dict of the tags' numbers to `Tag`; empty if the file is damaged.
    """
    start = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 8:
        return {}
    if start[:4] in BIG_TIFF:
        entry, counter, pointer = 20, "Q", "Q"
    else:
        entry, counter, pointer = 12, "H", "I"
    width = struct.calcsize(pointer)
    tags = {}
    try:
        (begin,) = struct.unpack_from(order + pointer, start, width)
        size = struct.calcsize(counter)
        (count,) = struct.unpack(order + counter, read(begin, size))
        entries = read(begin + size, min(count, 2**12) * entry)
        for at in range(0, len(entries) - entry + 1, entry):
            number, kind = struct.unpack_from(order + "HH", entries, at)
            (count,) = struct.unpack_from(order + pointer, entries, at + 4)
            if kind not in _FORMATS:
                continue
            form = order + _FORMATS[kind]
            # Of long lists, such as those of strips, the first numbers are enough.
            count = min(count, 1024)
            value_at = begin + size + at + 4 + width
            if count * struct.calcsize(form) > width:
                (value_at,) = struct.unpack_from(
                    order + pointer, entries, at + 4 + width
                )
            values = struct.unpack(
                f"{order}{count}{_FORMATS[kind]}",
                read(value_at, count * struct.calcsize(form)),
            )
            tags[number] = Tag(values, value_at, form)
    except struct.error:  # cut off: reported by the decoder
        return tags
    return tags


def reader_of(file: BinaryIO) -> _Read:
    """Returns a function for `tiff_tags` that reads a file."""

    def read(at: int, size: int) -> bytes:
        try:
            file.seek(at)
        except (OverflowError, OSError, ValueError):
            return b""
        return file.read(size)

    return read
