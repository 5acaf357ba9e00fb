"""A folder of DICOM slices as one volume."""

from pathlib import Path

import numpy as np

from scn_keras.files.image_header import ImageHeader
from scn_keras.files.image_spacing import PIXEL_SPACING, lattice_of, patient_spacing
from scn_keras.files.open_image import (
    check_size,
    numbers_of,
    open_image,
    smallest_dtype,
)

_POSITION, _ORIENTATION = "0020|0032", "0020|0037"


def series_files(folder: Path) -> tuple[Path, ...]:
    """Returns the slices of the one DICOM series in a folder, in their order."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # "No Series were found"
    series = reader.GetGDCMSeriesIDs(str(folder))
    sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    files = [
        Path(file)
        for uid in series
        for file in reader.GetGDCMSeriesFileNames(str(folder), uid)
    ]
    if len(series) != 1:
        found = f"{len(series)} series" if series else "none"
        raise ValueError(
            f"A folder given as an image must hold one DICOM series. Received: {found} "
            f"in {folder}"
        )
    # GDCM passes over what it cannot read, and the volume would lack slices.
    missed = sorted(
        file
        for file in folder.iterdir()
        if file.is_file()
        and file not in files
        and file.suffix.lower() in (".dcm", ".ima", "")
        and file.name != "DICOMDIR"
        and not file.name.startswith(".")
    )
    if missed:
        raise ValueError(
            f"{missed[0]} is no DICOM file of the series beside it, or damaged "
            f"({len(missed)} such file{'s' * (len(missed) > 1)})."
        )
    return tuple(files)


def series_header(
    folder: Path, files: tuple[Path, ...], max_pixels: int
) -> ImageHeader:
    """Reads the headers of two slices or more.

    Raises:
        ValueError: If they do not make up one volume of evenly spaced slices.
    """
    first, image_io = open_image(files[0], max_pixels)
    check_size(folder, (*first.GetSize()[:2], len(files)), max_pixels)
    kept = (_ORIENTATION, PIXEL_SPACING)
    positions, readers = [], []
    for file in files:
        reader, _ = open_image(file, max_pixels)
        readers.append(reader)
        position = numbers_of(reader, _POSITION)
        if len(position) != 3:
            raise ValueError(
                f"{file} has no Image Position (Patient): where it lies in the series "
                "is not known."
            )
        positions.append(position)
        if reader.GetSize() != first.GetSize() or any(
            numbers_of(reader, key) != numbers_of(first, key) for key in kept
        ):
            raise ValueError(
                f"{file} differs from {files[0].name} in size, orientation or Pixel "
                "Spacing, though both are of one series: move one of them away."
            )
    # The slices' own places rather than a distance along the normal: of a tilted
    # gantry the slices are shifted against each other.
    lattice = lattice_of(first)
    step = np.subtract(positions[-1], positions[0]) / (len(files) - 1)
    lattice[:3, 2] = step
    even = positions[0] + np.arange(len(files))[:, None] * step
    off = np.linalg.norm(positions - even, axis=1)
    if not step.any() or off.max() > 0.1 * np.linalg.norm(step):
        worst = int(np.argmax(off))
        raise ValueError(
            f"The slices in {folder} are not evenly spaced: a slice is missing or "
            f"doubled. {files[worst].name} lies {off[worst]:.2f} mm from where slice "
            f"{worst + 1} of {len(files)} should be."
        )
    spacing = patient_spacing(first, files[0], image_io)
    affine = None
    if spacing is not None:
        affine = lattice.copy()
        affine[:3, :2] *= np.divide(spacing[:2], first.GetSpacing()[:2])
    shape = (len(files), *first.GetSize()[1::-1])
    return ImageHeader(folder, shape, affine, lattice, smallest_dtype(readers), files)
