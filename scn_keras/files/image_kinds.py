"""Signatures at the start of image files, whatever the names of the files."""

import re

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG"
BMP = b"BM"
TIFF = (b"II*\x00", b"MM\x00*")
BIG_TIFF = (b"II+\x00", b"MM\x00+")

# Formats that an exported graph decodes and browsers display.
DECODED_IN_GRAPH = (JPEG, PNG, BMP)

# Each scan of a progressive JPEG goes through the whole image. Encoders write some ten.
MAX_SCANS = 100
# libpng keeps a thousand texts of a PNG (chunks zTXt and iTXt), each of which can grow
# from 8 kB to 8 MB. Programs write a few.
MAX_COMPRESSED_TEXTS = 20

# Bytes from the start of a file that are enough to recognise it.
START = 132


def is_dicom(start: bytes) -> bool:
    """Tells whether a file is DICOM by its signature after a preamble of 128 bytes.

    Args:
        start: Bytes, the first `START` bytes of the file.
    """
    return start[128:START] == b"DICM"


_FOREIGN = (
    (rb"GIF8", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (rb"\xff\xd8\xff\xf7", "JPEG-LS"),
    (rb"....ftyp(heic|heix|mif1|msf1)", "HEIC"),
    (rb"....ftypavi[fs]", "AVIF"),
    (rb"%PDF", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"8BPS", "Photoshop"),
    (rb"PK\x03\x04", "ZIP"),
    (rb"\s*(<\?xml[^>]*>\s*)?<(!DOCTYPE )?(svg|html)", "SVG or HTML"),
)


def foreign_format(start: bytes) -> str | None:
    """Returns the name of a format of pictures or documents that is not read.

    Args:
        start: Bytes, the first 64 bytes of the file or more.
    """
    for pattern, name in _FOREIGN:
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            return name
    return None
