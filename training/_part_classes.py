"""Classes of losses, optimisers, schedules, callbacks and peak layers, by their names.

Names without a colon are built-in and are validated when a recipe is created. Names
`"module:Class"` are imported when a class is used.
"""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import keras

import scn_keras.losses
from scn_keras._references import resolve
from scn_keras.training._learning_rate import SCHEDULES

# Short names of losses: the class in `scn_keras.losses` and its fixed arguments.
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "sum": ("HeatmapSquaredError", {"form": "sum"}),
    "mean": ("HeatmapSquaredError", {"form": "mean"}),
    "adaptive_wing": ("AdaptiveWing", {}),
    "coordinate": ("CoordinateLoss", {}),
    "binary_crossentropy": ("HeatmapBinaryCrossentropy", {}),
    "softmax_crossentropy": ("SpatialSoftmaxCrossentropy", {}),
    "patches": ("PatchLoss", {}),
}


@dataclasses.dataclass(frozen=True)
class _Kind:
    """The base class of a kind of part, its name, and the built-in classes."""

    base: type
    name: str
    modules: Sequence[Any] = ()
    short_names: Sequence[str] = ()


_SCHEDULES = keras.optimizers.schedules
_KINDS = {
    "loss": _Kind(
        keras.losses.Loss,
        "keras.losses.Loss",
        (scn_keras.losses, keras.losses),
        tuple(LOSSES),
    ),
    "optimizer.name": _Kind(
        keras.optimizers.Optimizer,
        "keras.optimizers.Optimizer",
        (keras.optimizers,),
        ("adam", "sgd", "nesterov"),
    ),
    "optimizer.schedule": _Kind(
        _SCHEDULES.LearningRateSchedule,
        "keras.optimizers.schedules.LearningRateSchedule",
        (_SCHEDULES,),
        tuple(SCHEDULES),
    ),
    "callbacks": _Kind(
        keras.callbacks.Callback, "keras.callbacks.Callback", (keras.callbacks,)
    ),
    "peak": _Kind(keras.layers.Layer, "keras.layers.Layer"),
}


def find_class(name: str, setting: str) -> Any:
    """Returns the class to which a setting of a recipe refers.

    Args:
        name: Str, `"module:Class"` or the name of a built-in class, but not one of the
            short names of the setting.
        setting: Str, the setting: `"loss"`, `"optimizer.name"`,
            `"optimizer.schedule"`, `"callbacks"` or `"peak"`.

    Raises:
        ValueError: If there is no such class, the name is ambiguous, or it is a class
            of another kind.
        ImportError: If the module cannot be imported.
    """
    kind = _KINDS[setting]
    if ":" in name:
        value = resolve(name, setting)
        require_kind(value, setting, repr(name))
        return value
    classes = {m.__name__: getattr(m, name, None) for m in kind.modules}
    homes = [module for module, value in classes.items() if inspect.isclass(value)]
    if len(homes) > 1 and len({id(classes[home]) for home in homes}) > 1:
        raise ValueError(
            f"`{setting}` is ambiguous. Use "
            f"{' or '.join(f'{home}:{name}' for home in homes)}. "
            f"Received: {setting}={name!r}"
        )
    if not homes:
        names = kind.short_names
        short = f"one of {', '.join(names)}, " if names else ""
        raise ValueError(
            f"`{setting}` must be {short}a class of {' or '.join(classes)}, or "
            f"module:Class for your own class. Received: {setting}={name!r}"
        )
    require_kind(classes[homes[0]], setting, repr(name))
    return classes[homes[0]]


def built_in_optimizers() -> dict[str, Any]:
    """Returns the optimisers of Keras by their names.

    On PyTorch, Keras replaces some of them and stores the name of the replacement in a
    model file (`keras.src.backend.torch.optimizers.torch_adam`). It can be imported
    only with PyTorch, and fails in a training on any other backend. With these classes
    in a `custom_object_scope`, a file of any backend gets the optimiser of the present
    one.
    """
    base = keras.optimizers.Optimizer
    return {
        name: value
        for name, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base
    }


def require_built_in(name: str, setting: str) -> None:
    """Validates the name of a built-in class. Other names are not resolved.

    Raises:
        ValueError: If there is no such class.
    """
    if ":" not in name and name not in _KINDS[setting].short_names:
        find_class(name, setting)


def require_kind(value: Any, setting: str, received: str) -> None:
    """Validates that the value of a setting is a class of the right kind.

    Args:
        value: Any object.
        setting: Str, as in `find_class`.
        received: Str, the value as it was given, for the message.

    Raises:
        ValueError: If it is not a class derived from the base class.
    """
    base = _KINDS[setting].base
    if not (inspect.isclass(value) and issubclass(value, base)):
        kind = "function" if inspect.isroutine(value) else type(value).__name__
        kind = "class" if inspect.isclass(value) else kind
        raise ValueError(
            f"`{setting}` must name a subclass of {_KINDS[setting].name}. "
            f"Received: {setting}={received}, the {kind} "
            f"{getattr(value, '__name__', value)}"
        )
