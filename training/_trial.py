"""Trials of the parts of a recipe before a run is created.

An error inside a user-defined part therefore has the name of the part.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from scn_keras._references import checked_arguments
from scn_keras.models import LandmarkModel
from scn_keras.training.recipe import Recipe

_BATCH, _SIDE = 2, 8


def attempt(label: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Returns the result of a function, or raises an error that names the part.

    Args:
        label: Str, the part, such as `"The loss 'my_parts:Loss'"`.
        function: Callable.
        *args: Arguments.
        **kwargs: Arguments.

    Raises:
        ValueError: If the function raises an error.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise ValueError(
            f"{label} failed in a trial before the training. Correct it or its "
            f"arguments. Received: {_description(error)}"
        ) from error


def make(function: Any, arguments: Mapping[str, Any], setting: str) -> Any:
    """Calls a class with arguments, validated as far as its signature allows.

    Args:
        function: Class.
        arguments: Mapping of keyword arguments.
        setting: Str, the setting of the arguments.

    Raises:
        ValueError: If the class does not accept the arguments.
    """
    checked_arguments(function, arguments, setting)
    try:
        return function(**arguments)
    except Exception as error:
        raise ValueError(
            f"{getattr(function, '__name__', function)} cannot be created with these "
            f"arguments ({_description(error)}). Correct them. "
            f"Received: {setting}={dict(arguments)}"
        ) from error


def try_model(model: LandmarkModel, recipe: Recipe, num_landmarks: int) -> None:
    """Computes the loss and the points of a compiled model on a small dummy batch.

    Raises:
        ValueError: If the loss and the target do not match, or a part fails.
    """
    rank = len(recipe.grid)
    shape = (_BATCH, *[_SIDE] * rank, *model.network.output_shape[rank + 1 :])
    outputs = keras.ops.convert_to_tensor(np.zeros(shape, "float32"))
    labels = {
        "points": np.full((_BATCH, num_landmarks, rank), 3.0, "float32"),
        "affine": np.tile(np.eye(rank + 1, dtype="float32"), (_BATCH, 1, 1)),
    }

    model.validate_loss()

    def compute_loss():
        # Without the local networks of a `GlobalToLocalNet`, which need an image.
        return LandmarkModel.compute_loss(model, None, labels, outputs)

    # Errors of built-in losses name the settings that do not match.
    value = (
        attempt(f"The loss {recipe.loss!r}", compute_loss)
        if ":" in recipe.loss
        else compute_loss()
    )
    if _shape(value) != ():
        raise ValueError(
            f"The loss {recipe.loss!r} must have a `reduction` to one number. "
            f"Received: shape={_shape(value)}"
        )
    if ":" in recipe.peak:
        _try_peak(model, recipe, outputs, num_landmarks)


def _try_peak(model, recipe, outputs, num_landmarks):
    label = f"The peak layer {recipe.peak!r}"
    peaks = attempt(label, model.peak, outputs, height=1.0)
    rank, several = len(recipe.grid), model.peak.num_peaks > 1
    one = (_BATCH, num_landmarks, *[model.peak.num_peaks] * several)
    expected = {"points": (*one, rank), "score": one, "covariance": (*one, rank, rank)}
    received = None
    if isinstance(peaks, Mapping):
        received = {name: _shape(value) for name, value in peaks.items()}
    if received is None or {k: received.get(k) for k in expected} != expected:
        raise ValueError(
            f"{label} must return a dict with the shapes {expected} for heatmaps of "
            f"shape {tuple(outputs.shape)}. "
            f"Received: {type(peaks).__name__ if received is None else received}"
        )


def _shape(value):
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _description(error):
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras prints in bold
    return f"{type(error).__name__}: {' '.join(text.split())}"
