"""The spacing and the affine of image files."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scn_keras.files._axis_units import require_millimetres
from scn_keras.files._header_limits import MAX_HEADER_BYTES
from scn_keras.files.open_image import numbers_of

# Formats whose spacing is in millimetres of the patient. The density in PNG, JPEG, BMP
# and TIFF files is that of a print or of a scanner, and often a default such as 72 dpi:
# it would give wrong millimetres.
_CALIBRATED = ("GDCMImageIO", "MetaImageIO", "NiftiImageIO", "NrrdImageIO")

PIXEL_SPACING = "0028|0030"
_DETECTOR_SPACING, _SCANNER_SPACING = "0018|1164", "0018|2010"
_CALIBRATION = "0028|0a02"  # Pixel Spacing Calibration Type


def patient_spacing(reader: Any, path: Path, image_io: str) -> tuple[float, ...] | None:
    """Returns the spacing of the patient, mm per pixel in x, y(, z).

    Args:
        reader: SimpleITK reader that has read the header.
        path: Path, the file.
        image_io: Str, the ITK reader's name.

    Returns:
        Tuple of floats; None if the file has none.

    Raises:
        ValueError: If the units of axes are not mm.

    Warns:
        UserWarning: If a DICOM file has only the spacing of the detector or of a film
            scanner, or if its Pixel Spacing is that of the detector.
    """
    if image_io not in _CALIBRATED:
        return None
    spacing = reader.GetSpacing()
    if image_io == "GDCMImageIO":
        # ITK silently falls back to the detector's spacing and then to 1.
        if not reader.HasMetaDataKey(PIXEL_SPACING):
            _warn_of_projection(reader, path)
            return None
        row_column = numbers_of(reader, PIXEL_SPACING)
        if len(row_column) != 2:
            return None
        if row_column == numbers_of(reader, _DETECTOR_SPACING) and (
            not reader.HasMetaDataKey(_CALIBRATION)
        ):
            # Not corrected for the magnification, see DICOM PS3.3, 10.7.1.3.
            warnings.warn(
                f"{path} has a Pixel Spacing equal to its Imager Pixel Spacing: its "
                "millimetres are those at the detector, and lengths of the patient are "
                "too large by the magnification.",
                stacklevel=2,
            )
        spacing = (row_column[1], row_column[0], *spacing[2:])
    elif image_io in ("MetaImageIO", "NrrdImageIO"):
        # ITK assumes 1 mm if these headers, which are text, have no spacing.
        with path.open("rb") as file:
            header = file.read(MAX_HEADER_BYTES)
        end = b"ElementDataFile" if image_io == "MetaImageIO" else b"\n\n"
        header = header.split(end)[0]
        require_millimetres(path, image_io, header)
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
                f"{path} has no Pixel Spacing, only {name} ({value} mm), of unknown "
                "magnification. The image is treated as uncalibrated. Give its spacing "
                "if you know it.",
                stacklevel=2,
            )
            return


def index_to_space(reader: Any) -> np.ndarray:
    """Returns ITK's affine from index coordinates to space, `(4, 4)`.

    Args:
        reader: SimpleITK reader that has read the header.
    """
    rank = reader.GetDimension()
    affine = np.eye(4)
    affine[:rank, :rank] = np.reshape(reader.GetDirection(), (rank, rank))
    affine[:rank, :rank] *= reader.GetSpacing()
    affine[:rank, 3] = reader.GetOrigin()
    return affine


def in_plane(affine: np.ndarray) -> np.ndarray:
    """Returns the 2D affine of a volume of one slice.

    Args:
        affine: Array `(4, 4)`.

    Returns:
        Array `(3, 3)`: without z for an axial slice, otherwise the spacing in the plane
        of the slice, with the origin at its first pixel.
    """
    plane = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    if np.allclose(affine[2, :2], 0) and np.allclose(affine[:2, 2], 0):
        return plane
    return np.diag([*np.linalg.norm(affine[:3, :2], axis=0), 1.0])
