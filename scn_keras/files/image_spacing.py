"""Where the pixels of a file lie, and whether that is a measure of the patient."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files.open_image import numbers_of

# Formats whose spacing is a measure of the patient. PNG, JPEG, BMP and TIFF may carry
# a density, but that is the density of the print or of the scanner's glass, and often
# a default such as 72 dpi: taking it would give false millimetres.
_CALIBRATED = ("GDCMImageIO", "MetaImageIO", "NiftiImageIO", "NrrdImageIO")

PIXEL_SPACING = "0028|0030"
_DETECTOR_SPACING, _SCANNER_SPACING = "0018|1164", "0018|2010"
_CALIBRATION = "0028|0a02"  # Pixel Spacing Calibration Type


def patient_spacing(reader: Any, path: Path, image_io: str) -> tuple[float, ...] | None:
    """Returns mm per pixel in x, y(, z), or None where the file does not say."""
    if image_io not in _CALIBRATED:
        return None
    spacing = reader.GetSpacing()
    if image_io == "GDCMImageIO":
        # ITK falls back to the detector's spacing and then to 1 without saying so.
        if not reader.HasMetaDataKey(PIXEL_SPACING):
            _warn_of_projection(reader, path)
            return None
        row_column = numbers_of(reader, PIXEL_SPACING)
        if len(row_column) != 2:
            return None
        if row_column == numbers_of(reader, _DETECTOR_SPACING) and (
            not reader.HasMetaDataKey(_CALIBRATION)
        ):
            # DICOM PS3.3, 10.7.1.3: nobody has corrected it.
            warnings.warn(
                f"{path} has a Pixel Spacing equal to its Imager Pixel Spacing: its "
                "millimetres are those at the detector, larger than the patient's by "
                "the magnification.",
                stacklevel=2,
            )
        spacing = (row_column[1], row_column[0], *spacing[2:])
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


def _warn_of_projection(reader: Any, path: Path) -> None:
    names = {
        _DETECTOR_SPACING: "Imager Pixel Spacing, which is that at the detector",
        _SCANNER_SPACING: "Nominal Scanned Pixel Spacing, which is that on the film",
    }
    for key, name in names.items():
        if reader.HasMetaDataKey(key):
            value = reader.GetMetaData(key).strip().replace("\\", " x ")
            warnings.warn(
                f"{path} has no Pixel Spacing, only {name} ({value} mm): without the "
                "magnification it is no measure of the patient. The image counts as "
                "uncalibrated; where you know its spacing, say so.",
                stacklevel=2,
            )
            return


def lattice_of(reader: Any) -> np.ndarray:
    """Returns index to space, `(4, 4)`, as ITK has it."""
    rank = reader.GetDimension()
    lattice = np.eye(4)
    lattice[:rank, :rank] = np.reshape(reader.GetDirection(), (rank, rank))
    lattice[:rank, :rank] *= reader.GetSpacing()
    lattice[:rank, 3] = reader.GetOrigin()
    return lattice


def in_plane(affine: np.ndarray) -> np.ndarray:
    """Drops z from the affine of a volume of one slice."""
    plane = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    if np.allclose(affine[2, :2], 0) and np.allclose(affine[:2, 2], 0):
        return plane
    return np.diag([*np.linalg.norm(affine[:3, :2], axis=0), 1.0])
