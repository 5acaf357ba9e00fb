import os
from pathlib import Path

import numpy as np

from scn_keras.files._reader_process import in_reader_process
from scn_keras.files.decode_file import decode_file
from scn_keras.files.image_kinds import JPEG
from scn_keras.files.jpeg_pixels import read_jpeg
from scn_keras.files.open_image import MAX_PIXELS, open_image
from scn_keras.files.read_image_header import read_image_header

# ITU-R BT.601, the luma of JPEG, in thousandths: exported models round alike.
_LUMA = np.array([299, 587, 114])


@in_reader_process
def read_image(
    path: str | os.PathLike[str],
    max_pixels: int = MAX_PIXELS,
    stored_pixels: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a grey image and its affine.

    Reads every format that SimpleITK reads: PNG, JPEG, BMP, TIFF, MetaImage, NRRD,
    NIfTI, DICOM and more. Colours and palettes become luma, an alpha channel is
    dropped. Values are as stored; those of DICOM files are rescaled with Rescale Slope
    and Intercept, and inverted if they are MONOCHROME1 (low values are white). A volume
    of one slice becomes a 2D image.

    Args:
        path: Str or path, the file, or the folder of one DICOM series.
        max_pixels: Int, the largest number of pixels that is decoded.
        stored_pixels: Bool, whether a file with an orientation tag is read as it is
            stored instead of being refused, see `read_orientation`.

    Returns:
        A pair `(array, affine)`.

        - `array`: `(y, x)` or `(z, y, x)`, in the dtype of the file.
        - `affine`: float64 `(3, 3)` or `(4, 4)`, index coordinates x, y(, z) to mm
          (LPS); None if the file has no spacing in millimetres of the patient: PNG,
          JPEG, BMP and TIFF files, DICOM files without Pixel Spacing, MetaImage and
          NRRD headers without a spacing. A single slice that is not axial has the axes
          of its own plane, with the origin at its first pixel.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is empty, truncated, in no format that SimpleITK reads,
            has several frames, more than `max_pixels` pixels or an orientation tag
            other than 1; if a folder does not hold exactly one DICOM series of evenly
            spaced slices.

    Warns:
        UserWarning: If a DICOM file has Imager Pixel Spacing (at the detector) or
            Nominal Scanned Pixel Spacing, but no Pixel Spacing, or if its Pixel Spacing
            is that of the detector.

    Example:

    ```python
    array, affine = read_image("radiograph.mha")
    height, width = array.shape
    spacing_x = affine[0, 0] if affine is not None else None
    ```
    """
    header = read_image_header(path, max_pixels, stored_pixels)
    slices = [_grey_pixels(file, max_pixels) for file in header.files]
    array = slices[0] if len(slices) == 1 else np.concatenate(slices)
    return array.reshape(header.shape), header.affine


def _grey_pixels(path: Path, max_pixels: int) -> np.ndarray:
    with path.open("rb") as file:
        is_jpeg = file.read(4).startswith(JPEG)
    if is_jpeg:
        open_image(path, max_pixels)  # which checks its size
        return read_jpeg(path)
    decoded = decode_file(path, max_pixels)
    return decoded.array if decoded.channels == 1 else _to_grey(decoded.array, path)


def _to_grey(array: np.ndarray, path: Path) -> np.ndarray:
    """Converts RGB or RGBA `(..., C)` to luma."""
    if array.shape[-1] not in (3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path} must have one number per pixel, or colours (RGB or RGBA of 8 or "
            "16 bits without sign). Save one component as an image. Received: "
            f"{array.shape[-1]} channels of {array.dtype}"
        )
    red = array[..., 0]
    # Most colour files of radiographs have three equal channels.
    if np.array_equal(red, array[..., 1]) and np.array_equal(red, array[..., 2]):
        return np.ascontiguousarray(red)
    grey = np.empty(array.shape[:-1], array.dtype)
    for colours, target in zip(array, grey, strict=True):  # in little memory
        target[...] = (colours[..., :3].astype(np.int64) @ _LUMA + 500) // 1000
    return grey
