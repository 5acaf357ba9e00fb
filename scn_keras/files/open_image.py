"""Opens image files without decoding them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._header_limits import require_header_limits
from scn_keras.files._named_file import require_text_name
from scn_keras.files._reader_limits import allow_bytes
from scn_keras.files.dicom_forms import require_dicom_form
from scn_keras.files.file_damage import file_damage, sniff_image_io

# 512 x 512 x 2048, more than the largest images in use: 1 GB at 16 bits.
MAX_PIXELS = 2**29

_FRAMES = "0028|0008"
_BITS_STORED, _IS_SIGNED = "0028|0101", "0028|0103"
_INTERCEPT, _SLOPE = "0028|1052", "0028|1053"


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Any, str]:
    """Reads the header of an image file.

    Args:
        path: Path, an existing file.
        max_pixels: Int, the largest number of pixels that is accepted.

    Returns:
        A pair: the SimpleITK reader, and the name of its ITK reader.

    Raises:
        ValueError: See `read_image_header`.
    """
    require_text_name(path)
    if path.stat().st_size == 0:
        raise ValueError(f"The image file is empty (0 bytes): {path}")

    import SimpleITK as sitk

    image_io = sniff_image_io(path) or sitk.ImageFileReader.GetImageIOFromFileName(
        str(path)
    )
    if not image_io:
        raise ValueError(
            f"The image format of {path} is unknown. Convert it to PNG, "
            "JPEG, BMP, TIFF, MetaImage, NRRD, NIfTI or DICOM."
        )
    require_header_limits(path, image_io)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise undecodable(path, image_io, error) from error
    if image_io == "GDCMImageIO":
        require_dicom_form(path, reader)
    size = reader.GetSize()
    # Before the data are read: a small file may declare, and a compressed file contain,
    # more pixels than fit into memory.
    require_size(path, size, max_pixels)
    allow_bytes(path.stat().st_size + _bytes_of(reader))
    frames = int(reader.GetMetaData(_FRAMES)) if reader.HasMetaDataKey(_FRAMES) else 1
    if image_io == "TIFFImageIO" and len(size) == 3:
        frames = size[2]
    if frames > 1 or len(size) > 3:
        count = f"{frames} frames" if frames > 1 else f"{len(size)} axes"
        raise ValueError(
            f"An image file must hold one image or one volume. Received: {count} in "
            f"{path}. Export single frames or, for a volume, DICOM slices, NIfTI, NRRD "
            "or MetaImage."
        )
    return reader, image_io


def undecodable(path: Path, image_io: str, error: RuntimeError) -> ValueError:
    """Returns an error of one sentence that names the file.

    Args:
        path: Path, the file.
        image_io: Str, the ITK reader's name.
        error: RuntimeError of ITK, of many lines.
    """
    if damage := file_damage(path, image_io):
        return ValueError(f"The image file is damaged: {path}: {damage}.")
    line = str(error).strip().splitlines()[-1].strip()
    if line.startswith("Reason: "):  # the errno of an earlier call (MetaImage)
        reason = "its pixel data are missing or truncated."
    else:
        reason = line.split("): ", 1)[-1].removeprefix("sitk::ERROR: ").rstrip(".")
        reason += "."
    return ValueError(f"The image file cannot be decoded: {path}: {reason}")


def require_size(path: Path, size: tuple[int, ...], max_pixels: int) -> None:
    """Raises a `ValueError` if an image has too many pixels.

    Args:
        path: Path, the file, for the message.
        size: Tuple of int, the size along each axis.
        max_pixels: Int, the largest number of pixels that is accepted.
    """
    pixels = int(np.prod(size, dtype=object))
    if pixels > max_pixels:
        raise ValueError(
            f"The image file {path} declares {' x '.join(map(str, size))} pixels, more "
            f"than the limit of {max_pixels:,}. If that is correct, raise `max_pixels`."
        )


def numbers_of(reader: Any, key: str) -> list[float]:
    """Returns the numbers of a DICOM tag, empty if it is absent or not numeric.

    Args:
        reader: SimpleITK reader that has read the header.
        key: Str, for example `"0028|0030"`.
    """
    if not reader.HasMetaDataKey(key):
        return []
    try:
        return [float(value) for value in reader.GetMetaData(key).split("\\")]
    except ValueError:
        return []


def smallest_dtype(readers: Sequence[Any]) -> str:
    """Returns the smallest of four dtypes that holds the values of all slices.

    Args:
        readers: Sequence of SimpleITK readers that have read their headers.

    Returns:
        Str, `uint8`, `uint16`, `int16` or `float32`.
    """
    ranges = [_value_range(reader) for reader in readers]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    for dtype in ("uint8", "uint16", "int16"):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return "float32"


def _bytes_of(reader: Any) -> int:
    """Returns the size of the decoded pixels."""
    import SimpleITK as sitk

    pixel_type = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    bits = int((re.findall(r"(\d+)-bit", pixel_type) or ["128"])[0])
    count = int(np.prod(reader.GetSize(), dtype=object))
    return count * reader.GetNumberOfComponents() * bits // 8


def _value_range(reader: Any) -> tuple[float, float]:
    import SimpleITK as sitk

    pixel_type = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "integer" not in pixel_type:
        return -np.inf, np.inf
    bits = int(re.findall(r"(\d+)-bit", pixel_type)[0])
    signed = "unsigned" not in pixel_type
    slope, intercept = 1.0, 0.0
    if bits > 16 and (stored := numbers_of(reader, _BITS_STORED)):
        # ITK uses 32 bits for rescaled values, however many bits are stored.
        bits, signed = int(stored[0]), numbers_of(reader, _IS_SIGNED) == [1.0]
        (slope,) = numbers_of(reader, _SLOPE) or [1.0]
        (intercept,) = numbers_of(reader, _INTERCEPT) or [0.0]
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high
