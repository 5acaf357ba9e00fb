"""The constructor arguments of objects, as a recipe stores them."""

import inspect
from typing import Any


def configuration(value: Any, label: str, remedy: str = "") -> dict[str, Any]:
    """Returns the constructor arguments of an object, without those of Keras's bases.

    They are taken from `get_config`, if there is one, otherwise from attributes of the
    same names.

    Args:
        value: Object, such as a Keras loss.
        label: Str, its description for messages.
        remedy: Str, another way to specify it, for messages.

    Raises:
        ValueError: If an argument is in neither of them.
    """
    config = _keras_config(value)
    arguments = {k: v for k, v in config.items() if k not in _OF_BASES}
    for parameter in inspect.signature(type(value)).parameters.values():
        name = parameter.name
        if name in config or name in _OF_BASES or parameter.kind not in _BY_NAME:
            continue
        if not hasattr(value, name):
            raise ValueError(
                f"{label} must define `get_config`, or keep its argument `{name}` in "
                f"an attribute of that name{remedy}. Received: {value!r}"
            )
        attribute = getattr(value, name)
        # Keras replaces lists and dicts in attributes by classes of its own.
        for kind in (list, dict):
            attribute = kind(attribute) if isinstance(attribute, kind) else attribute
        arguments[name] = attribute
    if "reduction" in config and _reduction(type(value), arguments) not in (
        None,
        config["reduction"],
    ):
        arguments["reduction"] = config["reduction"]
    return arguments


_OF_BASES = ("name", "dtype", "reduction", "trainable")
_BY_NAME = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


def _keras_config(value):
    try:
        return dict(value.get_config())
    except (AttributeError, NotImplementedError):
        return {}


def _reduction(loss, arguments):
    """Returns the reduction of a loss that is not given one, or `None`."""
    try:
        return loss(**arguments).reduction
    except Exception:  # reported when the loss is made
        return None
