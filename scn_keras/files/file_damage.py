"""Finds files that end too early, which several decoders read without a word.

ITK fills the missing part of a cut JPEG, BMP or NIfTI file with grey or zeros and
reports success. A landmark model would then be trained on, or asked about, half a
radiograph.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

# Signature: the ITK reader. ITK itself goes by the extension, so that a JPEG file
# named .png or without an extension would not be read.
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEGImageIO"),
    (b"\x89PNG\r\n\x1a\n", "PNGImageIO"),
    (b"BM", "BMPImageIO"),
    (b"II*\x00", "TIFFImageIO"),
    (b"MM\x00*", "TIFFImageIO"),
)


def sniff_image_io(path: Path) -> str | None:
    """Returns the name of the ITK reader that a file asks for, where it is plain."""
    with path.open("rb") as file:
        start = file.read(132)
    for signature, image_io in _SIGNATURES:
        if start.startswith(signature):
            return image_io
    if start.endswith(b"DICM"):  # also where the rest is cut off
        return "GDCMImageIO"
    # ITK looks into the compressed data, and knows no reader where they are damaged.
    return "NiftiImageIO" if path.name.lower().endswith((".nii", ".nii.gz")) else None


def file_damage(path: Path, image_io: str) -> str | None:
    """Says what is missing from a file whose decoder would not notice.

    Args:
        path: Path, an existing file.
        image_io: str, the ITK reader's name.

    Returns:
        str, the reason in a few words, or None if nothing was found.
    """
    check = {
        "JPEGImageIO": _jpeg_damage,
        "BMPImageIO": _bmp_damage,
        "NiftiImageIO": _nifti_damage,
    }.get(image_io)
    return check(path) if check else None


def _jpeg_damage(path: Path) -> str | None:
    data = path.read_bytes()
    # The end marker after the last scan. Within a scan a byte FF is followed by 00,
    # so neither marker can be pixels; a thumbnail's own end marker comes earlier.
    if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") >= 0:
        return None
    return "the JPEG data end before the end marker"


def _bmp_damage(path: Path) -> str | None:
    with path.open("rb") as file:
        header = file.read(54)
    if len(header) < 54:
        return "the BMP header is cut off"
    (offset,) = struct.unpack_from("<I", header, 10)
    width, height = struct.unpack_from("<ii", header, 18)
    bits, compression = struct.unpack_from("<HI", header, 28)
    if compression not in (0, 3):  # run-length coded: the size is not known ahead
        return None
    row = (abs(width) * bits + 31) // 32 * 4
    return _too_short(path.stat().st_size, offset + row * abs(height))


def _nifti_damage(path: Path) -> str | None:
    packed = path.name.lower().endswith(".gz")
    if not packed and path.suffix.lower() != ".nii":  # a pair of files: .hdr, .img
        return None
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(348)
            if len(header) < 348:
                return "the NIfTI header is cut off"
            expected = _nifti_size(header)
            if expected is None:  # NIfTI-2: ITK's business
                return None
            size = len(header)
            # To the end, where gzip has its checksum; not through endless padding.
            while size <= expected and (chunk := file.read(1 << 20)):
                size += len(chunk)
    except (EOFError, OSError, zlib.error):
        return "the compressed data end too early or are damaged"
    return _too_short(size, expected)


def _nifti_size(header: bytes) -> int | None:
    """Returns the bytes that a NIfTI-1 header promises, itself included."""
    order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
    if struct.unpack_from(order + "i", header)[0] != 348:
        return None
    rank, *dims = struct.unpack_from(order + "8h", header, 40)
    (bits,) = struct.unpack_from(order + "h", header, 72)
    (offset,) = struct.unpack_from(order + "f", header, 108)
    pixels = math.prod(max(extent, 1) for extent in dims[: max(rank, 0)])
    return int(offset) + pixels * bits // 8


def _too_short(size: int, expected: int) -> str | None:
    if size >= expected:
        return None
    return f"{size:,} bytes where the header promises {expected:,}"
