"""Checks of the images of a call before they wait for the model."""

import io
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from scn_keras.files.image_forms import form_problem
from scn_keras.files.image_kinds import DECODED_IN_GRAPH, JPEG
from scn_keras.files.jpeg_pixels import jpeg_damage
from scn_keras.inference.decode import (
    MAX_DECODED_PIXELS,
    MAX_DECODED_SIDE,
    image_bytes,
    promised_size,
)
from scn_keras.saved_models.rest_dialect import Input

# Ten times as fast as eagerly.
_size_and_bytes = tf.function(
    lambda data: (promised_size(data), image_bytes(data)),
    input_signature=[tf.TensorSpec((), tf.string)],
)


def pixels_of(inputs: Mapping[str, np.ndarray], max_bytes: int | None) -> list[int]:
    """Returns the number of pixels of each image; for bytes, that in the header.

    Args:
        inputs: Mapping of names to arrays, see `ServedModel.submit`.
        max_bytes: Int, the limit of the model, see `decode_image`; None for models of
            version 0.1, whose limit is `MAX_DECODED_PIXELS`.

    Raises:
        ValueError: If an image has a form that is not read, is damaged or too large.
    """
    largest = np.zeros(len(next(iter(inputs.values()))), int)
    for array in inputs.values():
        if array.dtype == object:
            sizes = np.array(
                [_pixels(index, data, max_bytes) for index, data in enumerate(array)],
                int,
            )
        else:
            sizes = np.full(len(array), np.prod(array.shape[1:], dtype=int))
        largest = np.maximum(largest, sizes)
    for index, size in enumerate(largest):
        if size > MAX_DECODED_PIXELS and (max_bytes is None or not _has_bytes(inputs)):
            raise ValueError(
                f"Image {index} has more than {MAX_DECODED_PIXELS:,} pixels. Received: "
                f"{size:,}. Make it smaller."
            )
    return largest.tolist()


def require_types(
    signature: str, expected: Mapping[str, Input], inputs: Mapping[str, np.ndarray]
) -> None:
    """Checks the names and the types of the inputs of a call.

    Args:
        signature: Str, the name of the signature.
        expected: Mapping of the names of its inputs to `rest_dialect.Input`.
        inputs: Mapping of names to arrays.

    Raises:
        ValueError: If they differ.
    """
    if set(inputs) != set(expected):
        names = ", ".join(sorted(expected))
        raise ValueError(
            f"A call of {signature} must have the inputs {names}. Received: "
            f"{', '.join(sorted(inputs)) or 'none'}"
        )
    for name, array in inputs.items():
        if array.dtype != expected[name].dtype:
            kind = "bytes" if expected[name].dtype == object else expected[name].dtype
            raise ValueError(
                f"`{name}` of {signature} must be {kind}. Received: {array.dtype}"
            )


def _has_bytes(inputs: Mapping[str, np.ndarray]) -> bool:
    return any(array.dtype == object for array in inputs.values())


def _pixels(index: int, data: bytes, max_bytes: int | None) -> int:
    if not data.startswith(DECODED_IN_GRAPH):
        raise ValueError(
            f"Image {index} is not a PNG, JPEG or BMP file. Received: "
            f"{len(data)} bytes that begin with {data[:8]!r}."
        )
    if problem := form_problem(io.BytesIO(data)):
        raise ValueError(f"Image {index} cannot be used: {problem}")
    size, needed = _size_and_bytes(tf.constant(data))
    rows, columns = map(int, size.numpy())
    too_large = max_bytes is not None and int(needed) > max_bytes
    if too_large or max(rows, columns) > MAX_DECODED_SIDE:
        limit = "" if max_bytes is None else f"{max_bytes:,} bytes when decoded, or "
        raise ValueError(
            f"Image {index} has more than {limit}{MAX_DECODED_SIDE:,} pixels along a "
            f"side. Received: {rows:,} rows, {columns:,} columns, {int(needed):,} "
            "bytes. Make it smaller."
        )
    pixels = rows * columns
    if data.startswith(JPEG) and pixels <= MAX_DECODED_PIXELS:
        # The graph goes on after damaged bytes.
        if damage := jpeg_damage(data):
            raise ValueError(f"Image {index} is damaged: {damage}.")
    return pixels
