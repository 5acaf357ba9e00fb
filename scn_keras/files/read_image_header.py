import dataclasses
import os
from pathlib import Path

import numpy as np

from scn_keras.files._reader_process import in_reader_process
from scn_keras.files.dicom_series import series_files, series_header
from scn_keras.files.image_forms import require_known_form
from scn_keras.files.image_header import ImageHeader
from scn_keras.files.image_spacing import in_plane, index_to_space, patient_spacing
from scn_keras.files.itk_copy import itk_copy
from scn_keras.files.nifti_forms import require_nifti_form
from scn_keras.files.open_image import MAX_PIXELS, open_image, smallest_dtype
from scn_keras.files.orientation import require_upright


@in_reader_process
def read_image_header(
    path: str | os.PathLike[str],
    max_pixels: int = MAX_PIXELS,
    stored_pixels: bool = False,
) -> ImageHeader:
    """Reads the size and the affine of an image without decoding it.

    Args:
        path: Str or path, the file, or the folder of one DICOM series.
        max_pixels: Int, the largest number of pixels that is accepted.
        stored_pixels: Bool, see `read_image`.

    Returns:
        An `ImageHeader`.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is empty, truncated, in no format that SimpleITK reads,
            has several frames, more than `max_pixels` pixels or an orientation tag
            other than 1; if a folder does not hold exactly one DICOM series of evenly
            spaced slices.

    Warns:
        UserWarning: If a DICOM file has only the spacing of the detector or of a film
            scanner, so that its affine is None, or if its Pixel Spacing is that of the
            detector.

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
        raise FileNotFoundError(f"The image file does not exist: {path}")
    require_known_form(path)
    require_nifti_form(path)
    if not stored_pixels:
        require_upright(path)
    with itk_copy(path) as copy:
        reader, image_io = open_image(copy.path, max_pixels)
    size = reader.GetSize()
    to_space = index_to_space(reader)
    affine = None
    if spacing := patient_spacing(reader, path, image_io):
        rank = len(size)
        affine = to_space[np.ix_([*range(rank), 3], [*range(rank), 3])].copy()
        affine[:rank, :rank] *= np.divide(spacing, reader.GetSpacing())
    if len(size) == 3 and size[2] == 1:
        size = size[:2]
        affine = None if affine is None else in_plane(affine)
    shape = tuple(size[::-1])
    dtype = copy.dtype or smallest_dtype([reader])
    return ImageHeader(path, shape, affine, to_space, dtype, (path,))
