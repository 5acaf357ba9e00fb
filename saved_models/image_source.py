import pathlib
import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from scn_keras.files import read_image
from scn_keras.geometry import affine_from_spacing
from scn_keras.training import preprocessing

_DECODED_IN_GRAPH = (b"\xff\xd8\xff", b"\x89PNG", b"BM")


class ImageSource(NamedTuple):
    """A file that was read: bytes that a graph decodes, or an array, and its affine."""

    file: pathlib.Path
    data: bytes | None
    array: np.ndarray | None
    affine: np.ndarray
    notes: tuple[str, ...]


def read_image_source(
    file: pathlib.Path,
    spacing: tuple[float, float] | None,
    dimensions: int,
    stored_values: bool,
) -> ImageSource:
    """Reads an image file for a model.

    Args:
        file: Path, the file, or the folder of one DICOM series.
        spacing: Millimetres per pixel, x and y, for 2D files that do not say.
        dimensions: Int, of the images that the model takes.
        stored_values: Bool, whether the model takes the numbers of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or no image that the model takes.
    """
    affine = None if spacing is None else affine_from_spacing(spacing)
    unknown = np.diag([0.0] * dimensions + [1.0])
    if affine is not None and dimensions != 2:
        raise ValueError(
            "A spacing in x and y is for 2D images, and the model takes volumes: leave "
            f"it out. Received: spacing={spacing}"
        )
    data = b""
    if dimensions == 2 and not stored_values and file.is_file():
        data = file.read_bytes()
    if data.startswith(_DECODED_IN_GRAPH):
        try:
            preprocessing.decode_image(tf.constant(data))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{file} is damaged: it could not be decoded. Open it in a viewer and "
                "save it again, or leave it out."
            ) from error
        return ImageSource(file, data, None, unknown if affine is None else affine, ())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array, own = read_image(file)
    if array.ndim != dimensions:
        raise ValueError(
            f"{file} must be an image of {dimensions} axes for this model. Received: "
            f"shape {array.shape}"
        )
    if dimensions == 2 and array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{file} must be a 2D image of 8 or 16 bits without sign. Received: "
            f"{array.dtype} {array.shape}"
        )
    affine = affine if own is None else own
    notes = tuple(str(warning.message) for warning in caught)
    return ImageSource(file, None, array, unknown if affine is None else affine, notes)
