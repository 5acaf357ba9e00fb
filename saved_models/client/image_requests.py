"""Images as the inputs of a served model."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from scn_keras.saved_models.client.prediction_error import PredictionError
from scn_keras.saved_models.predicting.folder_spacing import read_source
from scn_keras.saved_models.predicting.image_source import (
    ImageSource,
    affine_of,
    call_of,
    find_files,
)

Files = (
    Sequence[str | os.PathLike[str] | np.ndarray] | str | os.PathLike[str] | np.ndarray
)
# The inputs of one call hold this number of bytes at most; a larger image is sent
# alone.
_MAX_CALL_BYTES = 2**24


class ImageRules(NamedTuple):
    """How a model takes images.

    Attributes:
        stored_values: Bool, whether the model takes the stored values of files.
        orientation: Str, the rule for files with an orientation tag.
    """

    stored_values: bool
    orientation: str


class ImageRequest(NamedTuple):
    """One image as the inputs of a signature.

    Attributes:
        source: `ImageSource`.
        signature: Str, the signature that takes the image.
        inputs: Dict of names to arrays with a first axis of 1.
    """

    source: ImageSource
    signature: str
    inputs: dict[str, np.ndarray]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for requests whose inputs can be concatenated."""
        shapes = (array.shape[1:] for array in self.inputs.values())
        return self.signature, *shapes

    @property
    def size(self) -> int:
        """The number of bytes of the inputs."""
        return sum(
            sum(map(len, array)) if array.dtype == object else array.nbytes
            for array in self.inputs.values()
        )


def validate_spacing(spacing: Sequence[float] | None) -> tuple[float, ...] | None:
    """Returns a spacing as a tuple of floats.

    Args:
        spacing: Sequence of two or three floats, in mm, or `None`.

    Raises:
        ValueError: If it is not.
    """
    if spacing is None:
        return None
    numbers = tuple(map(float, spacing))
    if len(numbers) not in (2, 3) or not all(0.0 < n < np.inf for n in numbers):
        raise ValueError(
            "`spacing` must be two or three numbers above 0, in millimetres: x, y(, "
            f"z). Received: spacing={spacing}"
        )
    return numbers


def list_images(files: Files) -> list[Any]:
    """Returns paths and arrays, with the images of a folder in its place.

    Args:
        files: A path or an array, or a sequence of them.

    Returns:
        List of paths of files, of arrays, and of a `PredictionError` for each folder
        without images.
    """
    if isinstance(files, str | os.PathLike | np.ndarray):
        files = [files]
    images: list[Any] = []
    for file in files:
        if isinstance(file, np.ndarray):
            images.append(file)
            continue
        paths, problems = find_files([pathlib.Path(file)])
        images += paths
        images += [PredictionError(pathlib.Path(file), text) for text in problems]
    return images


def image_name(image: Any, number: int) -> pathlib.Path:
    """Returns the path of an image, or a name with its number for an array."""
    return pathlib.Path(f"array {number}") if isinstance(image, np.ndarray) else image


def read_image_request(
    image: Any, number: int, spacing: tuple[float, ...] | None, rules: ImageRules
) -> ImageRequest | PredictionError:
    """Reads an image.

    Args:
        image: One of what `list_images` returns.
        number: Int, the index of the image.
        spacing: Tuple of floats, mm per pixel in x, y(, z), for images without one.
        rules: `ImageRules` of the model.

    Returns:
        An `ImageRequest`, or a `PredictionError` if the image cannot be read.
    """
    if isinstance(image, PredictionError):
        return image
    file = image_name(image, number)
    try:
        source = _read(image, file, spacing, rules)
        return ImageRequest(source, *call_of(source, rules.stored_values))
    except (ValueError, OSError) as error:
        return PredictionError(file, str(error))


def split_by_size(
    requests: Sequence[tuple[int, ImageRequest]],
) -> Iterator[list[tuple[int, ImageRequest]]]:
    """Divides numbered requests into lists that one call can carry."""
    part: list[tuple[int, ImageRequest]] = []
    size = 0
    for number, request in requests:
        if part and size + request.size > _MAX_CALL_BYTES:
            yield part
            part, size = [], 0
        part.append((number, request))
        size += request.size
    yield part


def _read(
    image: Any, file: pathlib.Path, spacing: Sequence[float] | None, rules: ImageRules
) -> ImageSource:
    if not isinstance(image, np.ndarray):
        stored_values, orientation = rules
        return read_source(file, spacing, None, stored_values, orientation)
    if image.ndim not in (2, 3) or image.dtype.kind not in "uif":
        raise ValueError(
            "An image must be an array of numbers with the axes (y, x) or (z, y, x). "
            f"Received: {image.dtype} {image.shape}"
        )
    if not image.size:
        raise ValueError(f"{file} holds no pixel. Received: shape {image.shape}")
    return ImageSource(file, None, image, affine_of(file, spacing, image.ndim), ())
