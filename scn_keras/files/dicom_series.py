"""A folder of DICOM slices as one volume."""

from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._dicom_limits import require_shallow_dicom
from scn_keras.files._named_file import require_text_name
from scn_keras.files._reader_limits import allow_bytes
from scn_keras.files.image_header import ImageHeader
from scn_keras.files.image_spacing import (
    PIXEL_SPACING,
    index_to_space,
    patient_spacing,
)
from scn_keras.files.open_image import (
    numbers_of,
    open_image,
    require_size,
    smallest_dtype,
)

_POSITION, _ORIENTATION = "0020|0032", "0020|0037"


def series_files(folder: Path) -> tuple[Path, ...]:
    """Returns the slices of the only DICOM series in a folder, in spatial order.

    Args:
        folder: Path, the folder.

    Raises:
        ValueError: If the folder does not hold exactly one series, or GDCM skips a
            file that seems to belong to it.
    """
    import SimpleITK as sitk

    _require_safe(folder)
    reader = sitk.ImageSeriesReader
    require_text_name(folder)
    warnings_shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # "No Series were found"
    series = reader.GetGDCMSeriesIDs(str(folder))
    sitk.ProcessObject.SetGlobalWarningDisplay(warnings_shown)
    files = [
        Path(file)
        for uid in series
        for file in reader.GetGDCMSeriesFileNames(str(folder), uid)
    ]
    if len(series) != 1:
        count = f"{len(series)} series" if series else "none"
        raise ValueError(
            f"A folder given as an image must hold one DICOM series. Received: {count} "
            f"in {folder}"
        )
    # GDCM skips files that it cannot read, and the volume would lack slices.
    skipped = sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and file not in files
        and file.suffix.lower() in (".dcm", ".ima", "")
        and file.name != "DICOMDIR"
        and not file.name.startswith(".")
    )
    if skipped:
        raise ValueError(
            f"{skipped[0]} is not a DICOM file of the series in its folder, or it is "
            f"damaged. Move it away. Received: {len(skipped)} such files."
        )
    return tuple(files)


def _require_safe(folder: Path) -> None:
    """Checks what GDCM opens: all that is in the folder."""
    for file in folder.iterdir():
        if not file.is_file() and not file.is_dir() and file.exists():
            raise ValueError(
                f"{file} is not a file but a pipe or a device. Move it away."
            )
        if file.is_file():
            allow_bytes(file.stat().st_size)
            require_shallow_dicom(file)


def series_header(
    folder: Path, files: tuple[Path, ...], max_pixels: int
) -> ImageHeader:
    """Reads the headers of two or more slices as the header of one volume.

    Args:
        folder: Path, the folder of the series.
        files: Tuple of paths, its slices in spatial order.
        max_pixels: Int, the largest number of pixels that is accepted.

    Raises:
        ValueError: If the slices are not evenly spaced, or differ in size, orientation
            or Pixel Spacing.
    """
    first, image_io = open_image(files[0], max_pixels)
    require_size(folder, (*first.GetSize()[:2], len(files)), max_pixels)
    readers, positions = _read_slices(files, first, max_pixels)
    # From the slices' own positions instead of a distance along the normal, since the
    # slices of a tilted gantry are shifted against each other.
    step = np.subtract(positions[-1], positions[0]) / (len(files) - 1)
    expected = positions[0] + np.arange(len(files))[:, None] * step
    deviation = np.linalg.norm(positions - expected, axis=1)
    if not step.any() or deviation.max() > 0.1 * np.linalg.norm(step):
        worst = int(np.argmax(deviation))
        raise ValueError(
            f"The slices in {folder} must be evenly spaced: one is missing or "
            f"duplicated. Received: {files[worst].name}, {deviation[worst]:.2f} mm off "
            f"the expected position of slice {worst + 1} of {len(files)}"
        )
    to_space = index_to_space(first)
    to_space[:3, 2] = step
    spacing = patient_spacing(first, files[0], image_io)
    affine = None
    if spacing is not None:
        affine = to_space.copy()
        affine[:3, :2] *= np.divide(spacing[:2], first.GetSpacing()[:2])
    shape = (len(files), *first.GetSize()[1::-1])
    return ImageHeader(folder, shape, affine, to_space, smallest_dtype(readers), files)


def _read_slices(
    files: tuple[Path, ...], first: Any, max_pixels: int
) -> tuple[list[Any], list[list[float]]]:
    """Returns a reader and the position of each slice."""
    shared = (_ORIENTATION, PIXEL_SPACING)
    positions, readers = [], []
    for file in files:
        reader, _ = open_image(file, max_pixels)
        readers.append(reader)
        position = numbers_of(reader, _POSITION)
        if len(position) != 3:
            raise ValueError(
                f"{file} has no Image Position (Patient), so that its position in the "
                "series is unknown."
            )
        positions.append(position)
        if reader.GetSize() != first.GetSize() or any(
            numbers_of(reader, key) != numbers_of(first, key) for key in shared
        ):
            raise ValueError(
                f"{file} differs from {files[0].name} in size, orientation or Pixel "
                "Spacing, though both are of one series. Move one of them away."
            )
    return readers, positions
