from pathlib import Path
from typing import Any

from scn_keras.files.file_damage import file_damage
from scn_keras.files.open_image import MAX_PIXELS, open_image, undecodable


def decode_file(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[Any, str]:
    """Decodes an image file that is not damaged.

    Args:
        path: Path, an existing file.
        max_pixels: Int, the largest number of pixels that is decoded.

    Returns:
        A pair: the SimpleITK image, and the name of its ITK reader.

    Raises:
        ValueError: See `read_image`.
    """
    reader, image_io = open_image(path, max_pixels)
    if damage := file_damage(path, image_io):
        raise ValueError(f"The image file is damaged: {path}: {damage}.")
    try:
        return reader.Execute(), image_io
    except RuntimeError as error:
        raise undecodable(path, image_io, error) from error
