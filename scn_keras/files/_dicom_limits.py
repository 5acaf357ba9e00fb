"""Limits on the nesting and the number of elements of DICOM files.

GDCM parses nested sequences by recursion: 20,000 levels, in 0.7 MB, overflow the stack.
"""

import mmap
import struct
import zlib
from pathlib import Path
from typing import Any

# Structured reports have about ten levels, images three or four.
_MAX_DEPTH = 32
# Images have hundreds; enhanced ones some hundred per frame.
_MAX_ELEMENTS = 500_000
_MAX_INFLATED = 2**26

_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DELIMITERS, _PIXELS = 0xFFFE, 0x7FE0
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
# Value representations whose length has four bytes, after two that are reserved.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV"} | {
    *(b"UC", b"UN", b"UR", b"UT", b"UV"),
}
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS"} | {
    *(b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}


def require_shallow_dicom(path: Path) -> None:
    """Checks the nesting of a DICOM file, without recursion.

    A file that ends early or is damaged otherwise is accepted, for GDCM to refuse.

    Args:
        path: Path, an existing file.

    Raises:
        ValueError: If sequences are nested more deeply than in any file in use, or if
            there are more elements.
    """
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            begin = 132 if data[128:132] == b"DICM" else 0
            begin, syntax = _file_meta(data, begin)
            if syntax == _DEFLATED:
                inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                try:
                    inflated = inflate.decompress(data[begin:], _MAX_INFLATED)
                except zlib.error:
                    return
                if inflate.unconsumed_tail:
                    raise ValueError(
                        f"{path}: a deflated DICOM file must have at most "
                        f"{_MAX_INFLATED:,} bytes when inflated. Received: more"
                    )
                _scan(path, inflated, 0, syntax)
            else:
                _scan(path, data, begin, syntax)


def _file_meta(data: mmap.mmap, at: int) -> tuple[int, str]:
    """Returns where group 2 ends, and the transfer syntax in it."""
    syntax = ""
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        element = struct.unpack_from("<H", data, at + 2)[0]
        at, length = _value(data, at, "<")
        if element == 0x10:
            syntax = data[at : at + length].rstrip(b"\0 ").decode("latin-1")
        at += length
    return at, syntax


def _value(data: mmap.mmap | bytes, at: int, order: str) -> tuple[int, int]:
    """Returns where the value of an element begins, and its length."""
    representation = data[at + 4 : at + 6]
    if representation in _SHORT:
        return at + 8, struct.unpack_from(order + "H", data, at + 6)[0]
    if representation in _LONG and at + 12 <= len(data):
        return at + 12, struct.unpack_from(order + "I", data, at + 8)[0]
    return at + 8, struct.unpack_from(order + "I", data, at + 4)[0]  # implicit


def _scan(path: Path, data: mmap.mmap | bytes, at: int, syntax: str) -> None:
    order = ">" if syntax == _BIG_ENDIAN else "<"
    tag_and_length = struct.Struct(order + "HHI").unpack_from
    item = struct.pack(order + "HH", _DELIMITERS, _ITEM)
    ends: list[int] = []  # of the open sequences and items
    count, size = 0, len(data)
    while at + 8 <= size:
        while ends and at >= ends[-1]:
            ends.pop()
        count += 1
        if len(ends) > 2 * _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise ValueError(
                f"{path}: a DICOM file must have at most {_MAX_DEPTH} nested sequences "
                f"and {_MAX_ELEMENTS:,} elements. Received: more"
            )
        group, element, length = tag_and_length(data, at)
        if group == _DELIMITERS:
            at += 8
            if element == _ITEM:
                ends.append(size if length == _UNDEFINED else at + length)
            elif element in (_ITEM_END, _SEQUENCE_END) and ends:
                ends.pop()
            continue
        representation = b"" if syntax == _IMPLICIT else data[at + 4 : at + 6]
        if syntax == _IMPLICIT:
            at += 8
        else:
            at, length = _value(data, at, order)
        if group == _PIXELS:
            at = _after_pixels(data, at, length, tag_and_length)
        elif length == _UNDEFINED:
            ends.append(size)
        elif representation == b"SQ" or data[at : at + 4] == item:
            ends.append(at + length)
        else:
            at += length


def _after_pixels(
    data: mmap.mmap | bytes, at: int, length: int, tag_and_length: Any
) -> int:
    if length != _UNDEFINED:
        return at + length
    while at + 8 <= len(data):  # fragments of compressed pixels
        _, element, length = tag_and_length(data, at)
        at += 8
        if element != _ITEM:
            break
        at += length
    return at
