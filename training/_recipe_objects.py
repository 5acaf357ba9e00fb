"""Conversion of functions, classes and objects in a recipe to names and arguments."""

import inspect
from typing import TYPE_CHECKING, Any

from scn_keras._references import name_of
from scn_keras.training._configuration import configuration
from scn_keras.training._part_classes import require_kind
from scn_keras.training._recipe_values import coerced_fields
from scn_keras.training.recipe_settings import Network, Optimizer

if TYPE_CHECKING:
    from scn_keras.training.recipe import Recipe


def replace_objects(recipe: "Recipe") -> None:
    """Replaces objects by names and arguments, and converts values to their types.

    Raises:
        ValueError: If an object cannot be stored, or a value has a wrong type.
    """

    def assign(name: str, value: Any) -> None:
        object.__setattr__(recipe, name, value)

    if not isinstance(recipe.network, Network):
        assign("network", Network(recipe.network))
    for name in ("dataset", "loss", "peak", "method"):
        value = getattr(recipe, name)
        if isinstance(value, str):
            continue
        if _has_arguments(value, name):
            settings = f"{name}_settings"
            label = f"The {name} {type(value).__name__}"
            remedy = f"; or give the class and `{settings}`"
            assign(settings, configuration(value, label, remedy))
            value = type(value)
        if name in ("loss", "peak"):
            require_kind(value, name, repr(value))
        assign(name, name_of(value, name))
    if inspect.isclass(recipe.optimizer):
        require_kind(recipe.optimizer, "optimizer.name", repr(recipe.optimizer))
        assign("optimizer", Optimizer(name_of(recipe.optimizer, "optimizer.name")))
    elif hasattr(recipe.optimizer, "get_config"):
        assign("optimizer", Optimizer.from_keras(recipe.optimizer))
    for name, value in coerced_fields(recipe).items():
        assign(name, value)


def _has_arguments(value, name):
    """Returns whether a value is an object whose arguments a recipe stores."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return False
    return name in ("loss", "peak", "method") and hasattr(value, "__dict__")
