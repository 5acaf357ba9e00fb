"""Validation of user-defined transforms before a training."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from scn_keras.array_api import KERAS, NUMPY
from scn_keras.training.augmentation._user_transforms import (
    draw_user_parameters,
    transform_of,
    with_user_parameters,
)
from scn_keras.training.augmentation.geometric_transform import GeometricTransform
from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.named_transform import NamedTransform

_BATCH = 3


def validate_transform(named: NamedTransform, grid: Sequence[int]) -> None:
    """Validates a transform by applying it to a test batch and to one image of it.

    Raises:
        ValueError: If the transform fails or returns an unexpected result.
        ImportError: If its module cannot be imported.
    """
    transform_of(named)  # has its own errors for names and arguments
    label = f"The transform {named.name!r}"
    drawn = _attempt(label, draw_user_parameters, [named], 0, grid, NUMPY, (_BATCH,))
    for name, value in drawn.items():
        if np.shape(value)[:1] != (_BATCH,):
            raise ValueError(
                f"{label} must draw parameters for each image of a batch. Expected: "
                f"shape=({_BATCH}, ...) for {_BATCH} images. Received: "
                f"shape={np.shape(value)} for {name.split('.', 2)[2]!r}"
            )
    for transform, parameters in with_user_parameters([named], drawn, len(grid)):
        if isinstance(transform, IntensityTransform):
            _validate_intensity(label, transform, parameters, grid)
        if isinstance(transform, GeometricTransform):
            _validate_geometry(label, transform, parameters, grid)


def _validate_intensity(label, transform, parameters, grid):
    size = _BATCH * int(np.prod(grid))
    image = np.linspace(-1.0, 1.0, size, dtype="float32").reshape(_BATCH, *grid)
    batch = _attempt(label, transform.apply, image.copy(), parameters, NUMPY)
    _require(label, "a batch of images", batch, image.shape)
    last = {name: value[-1] for name, value in parameters.items()}
    single = _attempt(label, transform.apply, image[-1].copy(), last, NUMPY)
    _require(label, "an image", single, tuple(grid))
    if broken := int((~np.isfinite(_array(batch))).sum()):
        raise ValueError(
            f"{label} must return finite grey values for images from -1 to 1. "
            f"Received: {broken} values that are NaN or infinite"
        )
    if not np.allclose(_array(single), _array(batch)[-1], rtol=0, atol=1e-4):
        raise ValueError(
            f"{label} must return the same result for an image in a batch as for the "
            "image alone. The result for an image may depend only on its own "
            "parameters, not on other random numbers."
        )
    convert = KERAS.convert_to_tensor
    on_device = {name: convert(value) for name, value in parameters.items()}
    batch = _attempt(label, transform.apply, convert(image), on_device, KERAS)
    _require(label, "a batch of images", batch, image.shape)


def _validate_geometry(label, transform, parameters, grid):
    d = len(grid)
    spacing, size = np.ones((_BATCH, d), "f4"), np.full((_BATCH, d), grid[::-1], "f4")
    affine = _attempt(label, transform.affine, parameters, grid, spacing, size, NUMPY)
    if affine is not None:
        _require(label, "an affine", affine, (_BATCH, d + 1, d + 1))
        affine = _array(affine)
        _require_finite(label, "affine", affine)
        if not np.array_equal(affine[:, d], np.tile(np.eye(d + 1)[d], (_BATCH, 1))):
            raise ValueError(
                f"{label} must return an affine. Expected: last row "
                f"{np.eye(d + 1)[d].tolist()}. Received: {affine[0, d].tolist()}"
            )
        if not (np.linalg.det(affine) > 0.0).all():
            raise ValueError(
                f"{label} must return an affine that does not mirror or flatten the "
                "image. Use `flip` to mirror images. Received: determinant="
                f"{np.linalg.det(affine).min():.3g}"
            )
    elastic = _attempt(label, transform.displacements, parameters, grid, spacing, NUMPY)
    if elastic is not None:
        points = np.shape(elastic)[2:]
        _require(label, "displacements", elastic, (_BATCH, d, *points))
        if len(points) != d or min(points) < 4:
            raise ValueError(
                f"{label} must return displacements of at least 4 control points per "
                f"axis. Expected: shape=({_BATCH}, {d}, *n) with {d} numbers n. "
                f"Received: shape={np.shape(elastic)}"
            )
        _require_finite(label, "displacements", _array(elastic))
    if affine is None and elastic is None:
        raise ValueError(
            f"{label} must define `affine` or `displacements`, otherwise it has no "
            "effect. Received: None from both"
        )


def _attempt(label, function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(
            f"{label} failed on a test batch or on one image of it, before the "
            f"training. Received: {cause}"
        ) from error


def _require(label, description, result: Any, shape):
    received = getattr(result, "shape", None)
    received = None if received is None else tuple(received)
    dtype = None if received is None else keras.backend.standardize_dtype(result.dtype)
    if received != shape or dtype != "float32":
        raise ValueError(
            f"{label} returned {description} with a wrong shape or dtype. Expected: "
            f"shape={shape}, dtype=float32. Received: shape={received}, dtype={dtype}"
        )


def _require_finite(label, name, values):
    if not np.isfinite(values).all():
        raise ValueError(
            f"The `{name}` of the transform{label.removeprefix('The transform')} must "
            f"be finite. Received: {values.ravel()[:3].tolist()}, ..."
        )


def _array(result):
    if isinstance(result, np.ndarray):
        return result
    return keras.ops.convert_to_numpy(result)
