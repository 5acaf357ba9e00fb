"""Opens an image file without decoding it, or says why not."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files.file_damage import file_damage, sniff_image_io

# 512 x 512 x 2048: above the largest images in use, 1 GB at 16 bits.
MAX_PIXELS = 2**29

_FRAMES = "0028|0008"
_BITS_STORED, _IS_SIGNED = "0028|0101", "0028|0103"
_INTERCEPT, _SLOPE = "0028|1052", "0028|1053"


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Any, str]:
    """Returns a SimpleITK reader with a file's header in it, and ITK's own's name.

    Raises:
        ValueError: As `read_image_header`.
    """
    if path.stat().st_size == 0:
        raise ValueError(f"The image file is empty (0 bytes): {path}")

    import SimpleITK as sitk

    image_io = sniff_image_io(path) or sitk.ImageFileReader.GetImageIOFromFileName(
        str(path)
    )
    if not image_io:
        raise ValueError(
            f"SimpleITK knows no image format of this file: {path}. Convert it to PNG, "
            "JPEG, BMP, TIFF, MetaImage, NRRD, NIfTI or DICOM."
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise undecodable(path, image_io, error) from error
    size = reader.GetSize()
    # Before the file is gone through, let alone decoded: a small file may promise,
    # and a compressed one hold, more than the machine's memory.
    check_size(path, size, max_pixels)
    frames = int(reader.GetMetaData(_FRAMES)) if reader.HasMetaDataKey(_FRAMES) else 1
    if image_io == "TIFFImageIO" and len(size) == 3:
        frames = size[2]
    if frames > 1 or len(size) > 3:
        what = f"{frames} frames" if frames > 1 else f"{len(size)} axes"
        raise ValueError(
            f"An image file must hold one image or one volume. Received: {what} in "
            f"{path}. Export single frames or, for a volume, DICOM slices, NIfTI, NRRD "
            "or MetaImage."
        )
    return reader, image_io


def undecodable(path: Path, image_io: str, error: RuntimeError) -> ValueError:
    """Turns an ITK error into one sentence that names the file."""
    if damage := file_damage(path, image_io):
        return ValueError(f"The image file is damaged: {path}: {damage}.")
    line = str(error).strip().splitlines()[-1].strip()
    if line.startswith("Reason: "):  # MetaImage's errno of some earlier call
        reason = "its pixel data are missing or cut off."
    else:
        reason = line.split("): ", 1)[-1].removeprefix("sitk::ERROR: ").rstrip(".")
        reason += "."
    return ValueError(f"The image file cannot be decoded: {path}: {reason}")


def check_size(path: Path, size: tuple[int, ...], max_pixels: int) -> None:
    pixels = int(np.prod(size, dtype=object))
    if pixels > max_pixels:
        raise ValueError(
            f"The image file {path} promises {' x '.join(map(str, size))} pixels, more "
            f"than the limit of {max_pixels:,}. If that is right, give a larger "
            "`max_pixels`."
        )


def numbers_of(reader: Any, key: str) -> list[float]:
    if not reader.HasMetaDataKey(key):
        return []
    try:
        return [float(value) for value in reader.GetMetaData(key).split("\\")]
    except ValueError:
        return []


def smallest_dtype(readers: Sequence[Any]) -> str:
    """Returns the smallest type that holds the values of all slices."""
    ranges = [_value_range(reader) for reader in readers]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    for dtype in ("uint8", "uint16", "int16"):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return "float32"


def _value_range(reader: Any) -> tuple[float, float]:
    import SimpleITK as sitk

    words = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "integer" not in words:
        return -np.inf, np.inf
    bits, signed = int(re.findall(r"(\d+)-bit", words)[0]), "unsigned" not in words
    slope, intercept = 1.0, 0.0
    if bits > 16 and (stored := numbers_of(reader, _BITS_STORED)):
        # ITK takes 32 bits for rescaled values, whatever the file's own bits.
        bits, signed = int(stored[0]), numbers_of(reader, _IS_SIGNED) == [1.0]
        (slope,) = numbers_of(reader, _SLOPE) or [1.0]
        (intercept,) = numbers_of(reader, _INTERCEPT) or [0.0]
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high
