import os
from pathlib import Path

import numpy as np

from scn_keras.files.file_damage import file_damage
from scn_keras.files.open_image import MAX_PIXELS, open_image, undecodable
from scn_keras.files.read_image_header import read_image_header

# ITU-R BT.601, the luma of JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])


def read_image(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a grey image and where its pixels lie.

    Reads every format that SimpleITK reads: PNG, JPEG, BMP, TIFF, MetaImage, NRRD,
    NIfTI, DICOM and more. Colour and palettes become luma, an alpha channel is
    dropped. Values are as stored, of DICOM files after Rescale Slope and Intercept
    and, where they are MONOCHROME1 (white is low), inverted. A volume of one slice
    becomes a 2D image.

    Args:
        path: str or path, the file, or the folder of one DICOM series.
        max_pixels: int, the largest number of pixels that is decoded; an image whose
            header promises more is refused.

    Returns:
        A pair `(array, affine)`.

        - `array`: `(y, x)` or `(z, y, x)`, of the file's own number type.
        - `affine`: float64 `(3, 3)` or `(4, 4)`, index coordinates x, y(, z) to mm
          (LPS), or None where the file carries no spacing that is a measure of the
          patient: PNG, JPEG, BMP and TIFF files, DICOM files without Pixel Spacing,
          MetaImage and NRRD headers without one. A single slice that is not axial
          gets the axes of its own plane, with the origin at its first pixel.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, cut off, no image that SimpleITK reads, an
            image of several frames, or larger than `max_pixels`; if a folder does
            not hold exactly one DICOM series of evenly spaced slices.

    Warns:
        UserWarning: If a DICOM file has Imager Pixel Spacing (that at the detector)
            or Nominal Scanned Pixel Spacing, but no Pixel Spacing; if its Pixel
            Spacing is that at the detector.

    Example:

    ```python
    array, affine = read_image("radiograph.mha")
    height, width = array.shape
    spacing_x = affine[0, 0] if affine is not None else None
    ```
    """
    header = read_image_header(path, max_pixels)
    slices = [_decode(file, max_pixels) for file in header.files]
    array = slices[0] if len(slices) == 1 else np.concatenate(slices)
    return array.reshape(header.shape), header.affine


def _decode(path: Path, max_pixels: int) -> np.ndarray:
    import SimpleITK as sitk

    reader, image_io = open_image(path, max_pixels)
    if damage := file_damage(path, image_io):
        raise ValueError(f"The image file is damaged: {path}: {damage}.")
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise undecodable(path, image_io, error) from error
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = _to_grey(array, path)
    return array


def _to_grey(array: np.ndarray, path: Path) -> np.ndarray:
    """Drops the last axis of `(..., C)`: grey+alpha, RGB or RGB+alpha."""
    if array.shape[-1] not in (2, 3, 4):
        raise ValueError(
            f"An image file must have 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels. "
            f"Received: {array.shape[-1]} channels in {path}"
        )
    red = array[..., 0]
    if array.shape[-1] == 2 or (
        # Most colour files of radiographs are grey three times.
        np.array_equal(red, array[..., 1]) and np.array_equal(red, array[..., 2])
    ):
        return np.ascontiguousarray(red)
    luma = array[..., :3] @ _LUMA
    if np.issubdtype(array.dtype, np.integer):
        luma = np.rint(luma)
    return luma.astype(array.dtype)
