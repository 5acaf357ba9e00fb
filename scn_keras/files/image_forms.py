"""Which forms of TIFF, JPEG, PNG and BMP files are read, and why others are refused.

ITK and TensorFlow decode many further forms, some of them wrongly and without an error:
half floats as integers, grey and alpha as two pixels, other colour models as RGB. What
is accepted here has the same grey values in both (docs/formats.md, "Images").
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from scn_keras.files.file_parts import Tag, jpeg_segments, reader_of, tiff_tags
from scn_keras.files.image_kinds import BIG_TIFF, BMP, JPEG, TIFF, foreign_format

_SAVE = "Save it as an 8- or 16-bit grey PNG or TIFF file."
_FRAMES = {0xC3: "lossless", 0xC9: "arithmetic coding", 0xCA: "arithmetic coding"}
_PHOTOMETRIC = {
    **{0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK"},
    **{6: "YCbCr", 4: "transparency mask", 8: "CIELab", 9: "ICCLab", 10: "ITULab"},
    **{32803: "colour filter array", 32844: "LogL", 32845: "LogLuv"},
    34892: "linear raw",
}
_BMP_COMPRESSION = {1: "run-length", 2: "run-length", 4: "JPEG", 5: "PNG"}
# Of the versions 2 to 5 of the Windows header; that of OS/2 has 12 bytes.
_BMP_HEADERS = (40, 52, 56, 108, 124)


def require_known_form(path: Path) -> None:
    """Checks how the pixels of a TIFF, JPEG or BMP file are stored.

    Args:
        path: Path, an existing file of any format.

    Raises:
        ValueError: If the form is not read correctly by all decoders. The message names
            it and what to do.
    """
    with path.open("rb") as file:
        if problem := form_problem(file):
            raise ValueError(f"{path} cannot be used: {problem}")


def form_problem(file: BinaryIO) -> str | None:
    """Returns why the form of an image file is refused, or None.

    Args:
        file: Binary file of any format.
    """
    file.seek(0)
    start = file.read(70)
    if start.startswith(JPEG):
        return _jpeg_problem(file)
    if start.startswith((*TIFF, *BIG_TIFF)):
        return _tiff_problem(tiff_tags(reader_of(file)))
    if start.startswith(BMP):
        return _bmp_problem(start)
    if kind := foreign_format(start):
        return f"it is a {kind} file. {_SAVE}"
    return None


def jpeg_components(file: BinaryIO) -> int:
    """Returns the number of components of a JPEG file, 0 if it has no frame."""
    return _jpeg_frame(file)[2]


def _jpeg_problem(file: BinaryIO) -> str | None:
    marker, bits, components, transform = _jpeg_frame(file)
    if not marker:
        return None  # reported as damage
    if marker not in (0xC0, 0xC1, 0xC2):
        kind = _FRAMES.get(marker, f"the process SOF{marker - 0xC0}")
        return f"it is a JPEG of {kind}, not a baseline or progressive one. {_SAVE}"
    if bits != 8:
        return f"it is a JPEG of {bits} bits; 8 are read. {_SAVE}"
    if components not in (1, 3, 4):
        return f"it is a JPEG of {components} components; 1, 3 or 4 are read. {_SAVE}"
    if components == 4 and transform not in (0, 2):
        return (
            "it is a JPEG of four colours without an Adobe segment, so that the "
            f"meaning of its numbers is unknown. {_SAVE}"
        )
    return None


def _jpeg_frame(file: BinaryIO) -> tuple[int, int, int, int | None]:
    """Returns marker, bits and components of the frame, and the Adobe transform."""
    marker, bits, components, transform = 0, 0, 0, None
    for part in jpeg_segments(file):
        kind = part.kind[0]
        file.seek(part.begin)
        content = file.read(12)
        if kind == 0xEE and part.length >= 12 and content.startswith(b"Adobe"):
            transform = content[11] if len(content) == 12 else None
        # The others between C0 and CF are tables (DHT, JPG, DAC).
        is_frame = 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)
        if is_frame and not marker and len(content) >= 6:
            marker, bits, components = kind, content[0], content[5]
    return marker, bits, components, transform


def _tiff_problem(tags: Mapping[int, Tag]) -> str | None:
    def number(tag: int, default: int) -> int:
        return tags[tag].values[0] if tag in tags and tags[tag].values else default

    photometric, samples = number(262, -1), number(277, 1)
    bits = (tags[258].values if 258 in tags else ()) or (1,)
    form, is_grey = number(339, 1), photometric in (0, 1)
    if photometric == -1:
        return None  # damaged, which is reported when it is opened
    if photometric not in (0, 1, 2, 3, 5, 6):
        name = _PHOTOMETRIC.get(photometric, "unknown")
        return f"its photometric interpretation is {photometric} ({name}). {_SAVE}"
    if len({*bits[:samples]}) > 1:
        return f"its channels have different bits, {bits}. {_SAVE}"
    if is_grey and samples != 1:
        return (
            f"it has {samples} channels, for example grey and alpha, in a grey TIFF "
            f"file. Save it without the others. {_SAVE}"
        )
    expected = {2: (3, 4), 3: (1,), 5: (4,), 6: (3,)}.get(photometric, (1,))
    if samples not in expected:
        name = _PHOTOMETRIC[photometric]
        return f"it has {samples} channels, which is not usual for {name}. {_SAVE}"
    allowed: tuple[int, ...] = (1, 2, 4, 8, 16, 32) if is_grey else (8, 16)
    if photometric in (5, 6):
        allowed = (8,)
    elif photometric == 3:
        allowed = (4, 8)
    if form == 3:
        allowed = (32,) if is_grey else ()
    elif form == 2:
        allowed = (8, 16, 32) if is_grey else ()
    elif form != 1:
        allowed = ()
    if bits[0] not in allowed:
        name = {1: "unsigned", 2: "signed", 3: "floating-point"}.get(form, "unknown")
        return f"its numbers are {name} and have {bits[0]} bits. {_SAVE}"
    if photometric == 0 and (form != 1 or bits[0] == 32):
        return f"it is WhiteIsZero with signed, floating or 32-bit numbers. {_SAVE}"
    if number(332, 1) != 1:
        return f"its inks are not CMYK. {_SAVE}"
    description = bytes(tags[270].values) if 270 in tags else b""
    images = re.search(rb"ImageJ=.*\bimages=(\d+)", description, re.DOTALL)
    if images and int(images[1]) > 1 and number(254, 0) == 0 and 273 in tags:
        return (
            f"it is an ImageJ stack of {int(images[1])} images. Save single images, or "
            "the volume as NRRD."
        )
    return None


def _bmp_problem(header: bytes) -> str | None:
    if len(header) < 18:
        return None  # reported as damage
    (size,) = struct.unpack_from("<I", header, 14)
    if size not in _BMP_HEADERS:
        kind = "of OS/2" if size in (12, 16, 64) else f"of {size} bytes"
        return f"its BMP header is one {kind}. {_SAVE}"
    if len(header) < 54:
        return None
    bits, compression = struct.unpack_from("<HI", header, 28)
    if compression in _BMP_COMPRESSION:
        return f"it is a BMP of {_BMP_COMPRESSION[compression]} coding. {_SAVE}"
    if bits not in (8, 24, 32):
        return f"it is a BMP of {bits} bits a pixel; 8, 24 and 32 are read. {_SAVE}"
    if compression not in (0, 3) or (compression == 3 and bits != 32):
        return f"it is a BMP of the compression {compression}. {_SAVE}"
    masks = struct.unpack("<3I", header[54:66].ljust(12, b"\0"))
    if compression == 3 and masks != (0xFF0000, 0xFF00, 0xFF):
        return f"the channels of the BMP are not in the usual order. {_SAVE}"
    return None
