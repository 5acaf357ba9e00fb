"""Detects truncated and damaged image files.

ITK fills the missing part of a truncated JPEG, BMP or NIfTI file with grey or zeros and
reports success. A landmark model would then be trained on half a radiograph.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

from scn_keras.files.image_kinds import BMP, JPEG, PNG, START, TIFF, is_dicom
from scn_keras.files.jpeg_pixels import jpeg_damage

# ITK itself chooses a reader by the extension, so that a JPEG file named .png or
# without an extension would not be read.
_IMAGE_IOS: dict[bytes | tuple[bytes, ...], str] = {
    JPEG: "JPEGImageIO",
    PNG: "PNGImageIO",
    BMP: "BMPImageIO",
    TIFF: "TIFFImageIO",
}


def sniff_image_io(path: Path) -> str | None:
    """Returns the name of the ITK reader for a file by its content.

    Args:
        path: Path, an existing file.

    Returns:
        Str, or None if the file must be recognised by its name.
    """
    with path.open("rb") as file:
        start = file.read(START)
    for signature, image_io in _IMAGE_IOS.items():
        if start.startswith(signature):
            return image_io
    if is_dicom(start):  # ITK rejects DICOM files that are truncated
        return "GDCMImageIO"
    # ITK inspects the compressed data, and finds no reader if they are damaged.
    return "NiftiImageIO" if path.name.lower().endswith((".nii", ".nii.gz")) else None


def file_damage(path: Path, image_io: str) -> str | None:
    """Returns the damage of a file that its decoder would not report.

    Args:
        path: Path, an existing file.
        image_io: Str, the ITK reader's name.

    Returns:
        Str, the damage in a few words; None if there is none.
    """
    find_damage = {
        "JPEGImageIO": _jpeg_damage,
        "BMPImageIO": _bmp_damage,
        "NiftiImageIO": _nifti_damage,
    }.get(image_io)
    return find_damage(path) if find_damage else None


def _jpeg_damage(path: Path) -> str | None:
    return jpeg_damage(path.read_bytes())


def _bmp_damage(path: Path) -> str | None:
    with path.open("rb") as file:
        header = file.read(54)
    if len(header) < 54:
        return "the BMP header is cut off"
    (offset,) = struct.unpack_from("<I", header, 10)
    width, height = struct.unpack_from("<ii", header, 18)
    bits, compression = struct.unpack_from("<HI", header, 28)
    if compression not in (0, 3):  # run-length coded: of unknown size
        return None
    row = (abs(width) * bits + 31) // 32 * 4
    return _too_short(path.stat().st_size, offset + row * abs(height))


def _nifti_damage(path: Path) -> str | None:
    compressed = path.name.lower().endswith(".gz")
    if not compressed and path.suffix.lower() != ".nii":  # .hdr with .img
        return None
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(348)
            if len(header) < 348:
                return "the NIfTI header is cut off"
            expected = _nifti_size(header)
            if expected is None:  # NIfTI-2, which ITK checks
                return None
            size = len(header)
            # To the end, where gzip has its checksum, but not through long padding.
            while size <= expected and (chunk := file.read(1 << 20)):
                size += len(chunk)
    except (EOFError, OSError, zlib.error):
        return "the compressed data end too early or are damaged"
    return _too_short(size, expected)


def _nifti_size(header: bytes) -> int | None:
    """Returns the size in bytes of a NIfTI-1 file according to its header."""
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
