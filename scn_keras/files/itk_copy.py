"""Copies of image files in a form that ITK decodes correctly."""

import contextlib
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from scn_keras.files.file_parts import png_chunks, reader_of, tiff_tags
from scn_keras.files.image_forms import jpeg_components
from scn_keras.files.image_kinds import BIG_TIFF, BMP, JPEG, PNG, TIFF
from scn_keras.files.jpeg_pixels import read_inks

_ORIENTATION = 274
_GREY, _GREY_ALPHA = 0, 4  # the colour types of PNG


class ItkCopy(NamedTuple):
    """A file that ITK decodes, and what is to be done with the pixels.

    Attributes:
        path: Path of the original, or of a temporary copy.
        convert: Callable from decoded pixels `(y, x, ...)` to the true ones; or None.
        dtype: Str, the dtype of the true pixels; None for that of the decoded ones.
    """

    path: Path
    convert: Callable[[np.ndarray], np.ndarray] | None = None
    dtype: str | None = None


@contextlib.contextmanager
def itk_copy(path: Path) -> Iterator[ItkCopy]:
    """Yields a file of which ITK decodes the stored pixels.

    - TIFF: ITK mirrors files with an orientation tag by half of what the tag asks for
      and reduces them to 8 bits; a copy has no tag. It does not invert WhiteIsZero of
      8 and 16 bits.
    - PNG: SimpleITK has no images of grey and alpha. ITK shifts samples with fewer
      significant bits (`sBIT`), which other programs do not.
    - BMP: ITK reads headers of version 3 only.
    - JPEG: ITK takes YCCK for CMYK.

    Args:
        path: Path, an existing file of any format.

    Raises:
        ValueError: If the block raises one; the message names the original.
    """
    with contextlib.ExitStack() as stack:
        with path.open("rb") as file:
            start = file.read(4)
            data, convert, dtype = None, None, None
            if start.startswith((*TIFF, *BIG_TIFF)):
                data, convert = _of_tiff(file)
            elif start == PNG:
                data, convert, dtype = _of_png(file)
            elif start.startswith(BMP):
                data = _of_bmp(file)
            elif start.startswith(JPEG) and jpeg_components(file) == 4:
                convert = _replaced_by_inks(path)
        copy = path
        if data is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            copy = Path(folder, path.name)
            copy.write_bytes(data)
        try:
            yield ItkCopy(copy, convert, dtype)
        except ValueError as error:
            if copy is path:
                raise
            raise ValueError(str(error).replace(str(copy), str(path))) from error


def _of_tiff(
    file: BinaryIO,
) -> tuple[bytes | None, Callable[[np.ndarray], np.ndarray] | None]:
    tags = tiff_tags(reader_of(file))
    data, convert = None, None
    orientation = tags.get(_ORIENTATION)
    if orientation and orientation.values and 2 <= orientation.values[0] <= 8:
        file.seek(0)
        patched = bytearray(file.read())
        struct.pack_into(orientation.form, patched, orientation.begin, 1)
        data = bytes(patched)
    bits = tags[258].values[:1] if 258 in tags else ()
    # Of fewer bits, ITK takes care itself.
    if 262 in tags and tags[262].values[:1] == (0,) and bits in ((8,), (16,)):
        convert = np.invert
    return data, convert


def _of_png(
    file: BinaryIO,
) -> tuple[bytes | None, Callable[[np.ndarray], np.ndarray] | None, str | None]:
    chunks = [*png_chunks(file)]
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].length != 13:
        return None, None, None
    file.seek(chunks[0].begin)
    header = bytearray(file.read(13))
    if len(header) < 13:
        return None, None, None
    bits, colours = header[8], header[9]
    kinds = {chunk.kind for chunk in chunks}
    has_alpha = colours == _GREY_ALPHA
    if not (
        has_alpha or b"sBIT" in kinds or (colours == _GREY and b"tRNS" in kinds)
    ) or bits not in (1, 2, 4, 8, 16):
        return None, None, None
    kept = [b"IDAT", b"IEND"]
    convert, dtype = None, None
    if has_alpha:
        # A pixel has as many bytes as one of a form that SimpleITK reads: two as
        # 16-bit grey, four as 8-bit RGBA. Filters of PNG count in bytes of a pixel.
        header[8:10] = (16, _GREY) if bits == 8 else (8, 6)
        convert = _high_byte if bits == 8 else _first_two
        dtype = "uint8" if bits == 8 else "uint16"
    else:
        kept.append(b"PLTE")
        kept += [b"tRNS"] * (colours != _GREY)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", bytes(header))
    for chunk in chunks:
        if chunk.kind in kept:
            file.seek(chunk.begin - 8)
            data += file.read(chunk.length + 12)
    return data, convert, dtype


def _chunk(kind: bytes, content: bytes) -> bytes:
    size, crc = struct.pack(">I", len(content)), zlib.crc32(kind + content)
    return size + kind + content + struct.pack(">I", crc)


def _high_byte(pixels: np.ndarray) -> np.ndarray:
    return (pixels >> 8).astype(np.uint8)


def _first_two(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(np.uint16) * 256 + pixels[..., 1]


def _of_bmp(file: BinaryIO) -> bytes | None:
    file.seek(0)
    header = file.read(54)
    if len(header) < 54:
        return None
    (begin,) = struct.unpack_from("<I", header, 10)
    (size,) = struct.unpack_from("<I", header, 14)
    (compression,) = struct.unpack_from("<I", header, 30)
    if size == 40 and compression == 0:
        return None
    after = 14 + size + (12 if size == 40 and compression == 3 else 0)
    file.seek(after)
    rest = file.read()
    info = struct.pack("<I", 40) + header[18:30] + struct.pack("<I", 0) + header[34:54]
    offset = struct.pack("<I", max(begin - after, 0) + 54)
    return header[:10] + offset + info + rest


def _replaced_by_inks(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    return lambda _: read_inks(path)
