"""Signatures at the start of image files, whatever the names of the files."""

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG"
BMP = b"BM"
TIFF = (b"II*\x00", b"MM\x00*")
BIG_TIFF = (b"II+\x00", b"MM\x00+")

# Formats that an exported graph decodes and browsers display.
DECODED_IN_GRAPH = (JPEG, PNG, BMP)

# Bytes from the start of a file that are enough to recognise it.
START = 132


def is_dicom(start: bytes) -> bool:
    """Tells whether a file is DICOM by its signature after a preamble of 128 bytes.

    Args:
        start: Bytes, the first `START` bytes of the file.
    """
    return start[128:START] == b"DICM"
