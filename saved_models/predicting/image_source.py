"""Reading of image files for a model, without TensorFlow, for use by clients."""

import io
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from scn_keras.files import read_image
from scn_keras.files.caught_notes import caught_notes
from scn_keras.files.find_images import find_images
from scn_keras.files.image_forms import require_known_form
from scn_keras.files.image_kinds import DECODED_IN_GRAPH, JPEG
from scn_keras.files.jpeg_pixels import jpeg_damage
from scn_keras.files.open_image import MAX_PIXELS
from scn_keras.files.orientation import (
    REFUSED,
    STORED_PIXELS,
    require_upright,
    stored_pixels_note,
)
from scn_keras.geometry import affine_from_spacing, spacing_of


class ImageSource(NamedTuple):
    """An image file as bytes that a graph decodes or as an array, with its affine.

    Attributes:
        file: Path of the file.
        data: Bytes of a PNG, JPEG or BMP file, or `None`.
        array: Pixels `(*sizes)`, or `None`.
        affine: Array `(D + 1, D + 1)`, pixels to mm; zeros for an unknown spacing.
        notes: Tuple of str, remarks on the file for the user.
    """

    file: pathlib.Path
    data: bytes | None
    array: np.ndarray | None
    affine: np.ndarray
    notes: tuple[str, ...]


def find_files(
    files: Iterable[str | pathlib.Path],
) -> tuple[list[pathlib.Path], list[str]]:
    """Returns the image files among files and in folders, and messages on problems."""
    paths: list[pathlib.Path] = []
    problems: list[str] = []
    for file in map(pathlib.Path, files):
        images = [*find_images(file)] if file.is_dir() else [file]
        if not images:
            problems.append(f"There are no images in {file}.")
        paths += images
    return paths, problems


def read_image_source(
    file: pathlib.Path,
    spacing: Sequence[float] | None,
    dimensions: int | None,
    stored_values: bool,
    max_pixels: int = MAX_PIXELS,
    orientation: str = REFUSED,
) -> ImageSource:
    """Reads an image file for a model.

    Args:
        file: Path, the file, or the folder of one DICOM series.
        spacing: Millimetres per pixel, x, y(, z), for files without a spacing.
        dimensions: Int, the dimensions of the model's images; `None` for any.
        stored_values: Bool, whether the model requires the stored values of the file.
        max_pixels: Int, see `read_image`.
        orientation: Str, the rule of the model for files with an orientation tag,
            `REFUSED` or `STORED_PIXELS`.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged or has an orientation tag other than 1, or
            the model does not accept the image.
    """
    if spacing is not None and dimensions == 3:
        raise ValueError(
            "A spacing in x and y is for 2D images, but the model requires volumes. "
            f"Omit the spacing. Received: spacing={spacing}"
        )
    stored_pixels = orientation == STORED_PIXELS
    note = stored_pixels_note(file) if stored_pixels else None
    notes: tuple[str, ...] = () if note is None else (note,)
    if dimensions != 3 and not stored_values and _is_decoded_in_graph(file):
        affine = affine_of(file, spacing, 2)
        require_known_form(file)
        if not stored_pixels:
            require_upright(file)
        data = file.read_bytes()
        # The graph, and so TF Serving, goes on after damaged bytes of a JPEG.
        if data.startswith(JPEG) and (damage := jpeg_damage(data)):
            raise ValueError(f"The image file is damaged: {file}: {damage}.")
        return ImageSource(file, data, None, affine, notes)
    with caught_notes() as own_notes:
        array, own = read_image(file, max_pixels, stored_pixels)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(
            f"{file} must be an image with {dimensions} axes for this model. Received: "
            f"shape={array.shape}"
        )
    graded = stored_values or array.dtype in (np.uint8, np.uint16)
    if array.ndim == 2 and not graded:  # the range of the grey values is unknown
        raise ValueError(
            f"{file} must be a 2D image of 8 or 16 bits without sign. Received: "
            f"{array.dtype} {array.shape}"
        )
    if own is None:
        own = affine_of(file, spacing, array.ndim)
    notes += tuple(own_notes)
    return ImageSource(file, None, array, own, notes)


def affine_of(
    file: pathlib.Path, spacing: Sequence[float] | None, dimensions: int
) -> np.ndarray:
    """Returns the affine of an image whose file does not contain one.

    Args:
        file: Path, for the message.
        spacing: Millimetres per pixel, x, y(, z), or `None` if unknown.
        dimensions: Int, the dimensions of the image.

    Raises:
        ValueError: If the spacing does not have one number per dimension.
    """
    if spacing is None:
        spacing = [0.0] * dimensions
    if len(spacing) != dimensions:
        raise ValueError(
            f"{file} needs a spacing of {dimensions} numbers, "
            f"{', '.join('xyz'[:dimensions])}. Received: spacing={tuple(spacing)}"
        )
    return affine_from_spacing(spacing)


def call_of(
    source: ImageSource, stored_values: bool = False
) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the signature of an exported model for an image, and its inputs.

    Images of 8 and 16 bits are sent losslessly as the bytes of a file, other types and
    volumes as arrays.

    Args:
        source: `ImageSource`.
        stored_values: Bool, whether the model requires arrays with the stored values of
            the file instead of values scaled to 0..1 by the range of their type.

    Returns:
        `(signature, inputs)`, arrays with a first axis of 1.
    """
    data, array = source.data, source.array
    if array is not None and array.dtype in (np.uint8, np.uint16):
        if array.ndim == 2 and not stored_values:
            data = _png(array)
    if data is not None:
        image_bytes = np.empty(1, object)
        image_bytes[0] = data
        spacing = spacing_of(source.affine).astype(np.float32)
        inputs = {"image_bytes": image_bytes, "spacing_mm": spacing[None]}
        return "serving_default", inputs
    array = np.asarray(array)
    image = array.astype(np.float32)
    if np.issubdtype(array.dtype, np.integer) and not stored_values:
        low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
        image = (image - low) / np.float32(high - low)
    affine = source.affine.astype(np.float32)
    signature = "arrays" if image.ndim == 2 else "volumes"
    return signature, {"image": image[None, ..., None], "affine": affine[None]}


def _png(array):
    file = io.BytesIO()
    # Low compression is five times as fast and a tenth larger. The file is only sent.
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _is_decoded_in_graph(file):
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(4).startswith(DECODED_IN_GRAPH)
