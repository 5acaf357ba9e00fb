import dataclasses
import os
from pathlib import Path

import numpy as np

from scn_keras.files.dicom_series import series_files, series_header
from scn_keras.files.image_header import ImageHeader
from scn_keras.files.image_spacing import in_plane, lattice_of, patient_spacing
from scn_keras.files.open_image import MAX_PIXELS, open_image, smallest_dtype


def read_image_header(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS
) -> ImageHeader:
    """Reads how large an image is and where its pixels lie, without decoding it.

    Args:
        path: str or path, the file, or the folder of one DICOM series.
        max_pixels: int, the largest number of pixels that is accepted.

    Returns:
        An `ImageHeader`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, cut off, no image that SimpleITK reads, an
            image of several frames, or larger than `max_pixels`; if a folder does
            not hold exactly one DICOM series of evenly spaced slices.

    Warns:
        UserWarning: If a DICOM file has the spacing of the detector or the film
            scanner but none of the patient: its affine is None; if its Pixel Spacing
            is that at the detector.

    Example:

    ```python
    header = read_image_header("head.nii.gz")
    slices, rows, columns = header.shape
    ```
    """
    path = Path(path)
    if path.is_dir():
        files = series_files(path)
        if len(files) > 1:
            return series_header(path, files, max_pixels)
        return dataclasses.replace(read_image_header(files[0], max_pixels), path=path)
    if not path.exists():
        raise FileNotFoundError(f"There is no image file {path}")
    reader, image_io = open_image(path, max_pixels)
    size = reader.GetSize()
    lattice = lattice_of(reader)
    affine = None
    if spacing := patient_spacing(reader, path, image_io):
        rank = len(size)
        affine = lattice[np.ix_([*range(rank), 3], [*range(rank), 3])].copy()
        affine[:rank, :rank] *= np.divide(spacing, reader.GetSpacing())
    if len(size) == 3 and size[2] == 1:
        size = size[:2]
        affine = None if affine is None else in_plane(affine)
    shape = tuple(size[::-1])
    return ImageHeader(path, shape, affine, lattice, smallest_dtype([reader]), (path,))
