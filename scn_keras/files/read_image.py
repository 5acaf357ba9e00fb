import os
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files.file_damage import file_damage, sniff_image_io

# ITU-R BT.601, the luma of JPEG.
_LUMA = np.array([0.299, 0.587, 0.114])

# Formats whose spacing is a measure of the patient. PNG, JPEG, BMP and TIFF may carry
# a density, but that is the density of the print or of the scanner's glass, and often
# a default such as 72 dpi: taking it would give false millimetres.
_CALIBRATED = ("GDCMImageIO", "MetaImageIO", "NiftiImageIO", "NrrdImageIO")


def read_image(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a grey image and where its pixels lie.

    Reads every format that SimpleITK reads: PNG, JPEG, BMP, TIFF, MetaImage, NRRD,
    NIfTI, DICOM and more. Colour becomes luma, an alpha channel is dropped, values
    are as stored. A volume of one slice becomes a 2D image.

    Args:
        path: str or path, the file.

    Returns:
        A pair `(array, affine)`.

        - `array`: `(y, x)` or `(z, y, x)`, of the file's own number type.
        - `affine`: float64 `(3, 3)` or `(4, 4)`, index coordinates x, y(, z) to mm
          (LPS), or None where the file carries no spacing that is a measure of the
          patient: PNG, JPEG, BMP and TIFF files, DICOM files without Pixel Spacing
          (Imager Pixel Spacing is that of the detector), MetaImage and NRRD headers
          without one. A single slice that is not axial gets the axes of its own
          plane, with the origin at its first pixel.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is a folder, empty, cut off, or no image that
            SimpleITK reads.

    Example:

    ```python
    array, affine = read_image("radiograph.mha")
    height, width = array.shape
    spacing_x = affine[0, 0] if affine is not None else None
    ```
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"An image file is needed. Received a folder: {path}")
    if not path.exists():
        raise FileNotFoundError(f"There is no image file {path}")
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
    if damage := file_damage(path, image_io):
        raise ValueError(f"The image file is damaged: {path}: {damage}.")

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise ValueError(
            f"The image file cannot be decoded: {path}: {_reason(error)}"
        ) from error

    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = _to_grey(array, path)
    affine = None
    if spacing := _patient_spacing(image, reader, path, image_io):
        affine = _affine(spacing, image.GetDirection(), image.GetOrigin())
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
        affine = None if affine is None else _in_plane(affine)
    return array, affine


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


def _patient_spacing(
    image: Any, reader: Any, path: Path, image_io: str
) -> tuple[float, ...] | None:
    """Returns mm per pixel in x, y(, z), or None where the file does not say."""
    if image_io not in _CALIBRATED:
        return None
    spacing = image.GetSpacing()
    if image_io == "GDCMImageIO":
        # ITK falls back to the detector's spacing and then to 1 without saying so.
        if not reader.HasMetaDataKey("0028|0030"):
            return None
        values = reader.GetMetaData("0028|0030").split("\\")
        try:
            row, column = (float(value) for value in values)
        except ValueError:
            return None
        spacing = (column, row, *spacing[2:])
    elif image_io in ("MetaImageIO", "NrrdImageIO"):
        # ITK takes 1 mm where these headers, which are text, give no spacing.
        with path.open("rb") as file:
            header = file.read(1 << 14)
        keys = (b"ElementSpacing", b"ElementSize", b"spacings:", b"space directions:")
        if not any(key in header for key in keys):
            return None
    if not all(np.isfinite(value) and value > 0 for value in spacing):
        return None
    return tuple(spacing)


def _affine(
    spacing: tuple[float, ...], direction: tuple[float, ...], origin: tuple[float, ...]
) -> np.ndarray:
    rank = len(spacing)
    affine = np.eye(rank + 1)
    affine[:rank, :rank] = np.reshape(direction, (rank, rank)) * np.asarray(spacing)
    affine[:rank, rank] = origin
    return affine


def _in_plane(affine: np.ndarray) -> np.ndarray:
    """Drops z from the affine of a volume of one slice."""
    plane = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    if np.allclose(affine[2, :2], 0) and np.allclose(affine[:2, 2], 0):
        return plane
    return np.diag([*np.linalg.norm(affine[:3, :2], axis=0), 1.0])


def _reason(error: RuntimeError) -> str:
    """Returns the last line of an ITK error, without the address of the reader."""
    line = str(error).strip().splitlines()[-1].strip()
    if line.startswith("Reason: "):  # MetaImage's errno of some earlier call
        return "its pixel data are missing or cut off."
    return line.split("): ", 1)[-1].removeprefix("sitk::ERROR: ").rstrip(".") + "."
