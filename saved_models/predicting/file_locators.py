"""Localisation of landmarks in image files with a run or an exported model."""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.files.open_image import MAX_PIXELS
from scn_keras.files.orientation import REFUSED
from scn_keras.inference.calibration_source import calibration_source
from scn_keras.inference.decode import decode_image, grey_values
from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.inference.locator import Locator
from scn_keras.saved_models.export_folder import (
    calibration_source_of,
    image_to_grid_of,
    orientation_of,
)
from scn_keras.saved_models.graph_errors import sentence_of
from scn_keras.saved_models.predicting.image_source import ImageSource, call_of

# Files on this machine are decoded up to the limit of `read_image`, at 16 bits.
# `read_image_source` has checked their orientation.
_decode = tf.function(
    lambda data: decode_image(data, 2 * MAX_PIXELS, refuse_orientation=False),
    input_signature=[tf.TensorSpec((), tf.string)],
)
_Located = Iterator[tuple[ImageSource, dict[str, np.ndarray]]]


class RunFileLocator:
    """Localises landmarks in image files with a `Locator`.

    Args:
        locator: `Locator`, for example that of a run.
        problems: List to which a message is appended for each file that cannot be
            decoded. The file is skipped.
        orientation: Str, the rule for files with an orientation tag.
    """

    def __init__(
        self, locator: Locator, problems: list[str], orientation: str = REFUSED
    ) -> None:
        self.image_to_grid = locator.image_to_grid
        self.orientation = orientation
        calibration = locator.calibration
        self.calibration_source = calibration_source(
            None if calibration is None else calibration.protocol
        )
        self._locator = locator
        self._problems = problems

    def locate(self, sources: Iterable[ImageSource]) -> _Located:
        """Yields each image with its outputs of `Locator.locate`."""
        decoded: list[ImageSource] = []
        d = self.image_to_grid.dimensions

        def samples() -> Iterator[dict[str, Any]]:
            for source in sources:
                try:
                    image = grey_image(source, self.image_to_grid)
                except tf.errors.InvalidArgumentError as error:
                    self._problems.append(undecodable(source, error))
                    continue
                decoded.append(source)
                affine = source.affine.astype(np.float32)
                yield {"image": image.numpy(), "affine": affine}

        stream = tf.data.Dataset.from_generator(
            samples,
            output_signature={
                "image": tf.TensorSpec((*[None] * d, 1), tf.float32),
                "affine": tf.TensorSpec((d + 1, d + 1), tf.float32),
            },
        )
        for index, outputs in enumerate(self._locator.locate(stream)):
            yield decoded[index], outputs


class ExportFileLocator:
    """Localises landmarks in image files with an exported model.

    Args:
        folder: Path of the exported version, the folder of `saved_model.pb`.
        problems: As in `RunFileLocator`.
    """

    def __init__(self, folder: pathlib.Path, problems: list[str]) -> None:
        # A reference is kept, because the variables are deleted with the model.
        self._model = tf.saved_model.load(str(folder))
        self.image_to_grid = image_to_grid_of(folder)
        self.orientation = orientation_of(folder)
        self.calibration_source = calibration_source_of(folder)
        self._problems = problems

    def locate(self, sources: Iterable[ImageSource]) -> _Located:
        """Yields each image with its outputs of the model."""
        for source in sources:
            signature, inputs = call_of(source, self.image_to_grid.uses_stored_values)
            serve = self._model.signatures[signature]
            try:
                outputs = serve(**{k: tf.constant(v) for k, v in inputs.items()})
            except tf.errors.InvalidArgumentError as error:
                if source.data is None:  # not an error of decoding
                    raise
                self._problems.append(undecodable(source, error))
                continue
            yield source, {name: value[0].numpy() for name, value in outputs.items()}


def grey_image(source: ImageSource, image_to_grid: ImageToGrid) -> tf.Tensor:
    """Returns the grey values `(*sizes, 1)` of an image file, float32.

    Raises:
        tf.errors.InvalidArgumentError: If the bytes of the file cannot be decoded.
    """
    if source.data is not None:
        return _decode(tf.constant(source.data))
    image = tf.constant(np.asarray(source.array)[..., None])
    return grey_values(image, image_to_grid.normalization)


def require_decodable(source: ImageSource, image_to_grid: ImageToGrid) -> None:
    """Decodes the bytes of a file.

    Raises:
        ValueError: If they cannot be decoded. The message names the file.
    """
    try:
        grey_image(source, image_to_grid)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(undecodable(source, error)) from error


def undecodable(source: ImageSource, error: tf.errors.OpError) -> str:
    """Returns the message for a file whose bytes cannot be decoded."""
    return f"{source.file} could not be decoded: {sentence_of(error)}"
