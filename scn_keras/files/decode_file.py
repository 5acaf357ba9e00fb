from pathlib import Path
from typing import NamedTuple

import numpy as np

from scn_keras.files.file_damage import file_damage
from scn_keras.files.itk_copy import itk_copy
from scn_keras.files.open_image import MAX_PIXELS, open_image, undecodable


class DecodedFile(NamedTuple):
    """The stored pixels of an image file.

    Attributes:
        array: Array `(y, x)` or `(z, y, x)`, with a last axis for several channels.
        channels: Int, the number of channels.
        spacing: Tuple of floats, ITK's spacing in x, y(, z).
        image_io: Str, the name of the ITK reader.
    """

    array: np.ndarray
    channels: int
    spacing: tuple[float, ...]
    image_io: str


def decode_file(path: Path, max_pixels: int = MAX_PIXELS) -> DecodedFile:
    """Decodes an image file that is not damaged, without its orientation tag.

    Args:
        path: Path, an existing file.
        max_pixels: Int, the largest number of pixels that is decoded.

    Returns:
        A `DecodedFile`.

    Raises:
        ValueError: See `read_image`.
    """
    import SimpleITK as sitk

    with itk_copy(path) as copy:
        reader, image_io = open_image(copy.path, max_pixels)
        if damage := file_damage(path, image_io):
            raise ValueError(f"The image file is damaged: {path}: {damage}.")
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise undecodable(copy.path, image_io, error) from error
    array = sitk.GetArrayFromImage(image)
    if copy.convert is not None:
        array = copy.convert(array)
    channels = array.shape[-1] if array.ndim > image.GetDimension() else 1
    return DecodedFile(array, channels, image.GetSpacing(), image_io)
