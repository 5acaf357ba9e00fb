"""User-defined transforms: from names to parameters and results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.named_transform import NamedTransform
from scn_keras.training.augmentation.transform import Transform

# Folded into the seed, before the number of the transform. Far from the small numbers
# that mark other streams of the same seed.
_STREAM = 1 << 30


class FunctionTransform(IntensityTransform):
    """A function `(image, parameters, xp, **arguments)` as a transform.

    Args:
        function: Callable; its attribute `num_parameters` (1 without it) is the number
            of its parameters.
        arguments: Mapping of its keyword arguments.
    """

    def __init__(
        self, function: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> None:
        self.function = function
        self.arguments = arguments

    def count(self, dimensions: int) -> int:
        return getattr(self.function, "num_parameters", 1)

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        return {"parameters": unit}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        return self.function(image, parameters["parameters"], xp, **self.arguments)


def transform_of(named: NamedTransform) -> Transform:
    """Returns the transform of a name.

    It is looked up each time, so that code that was loaded anew is found.

    Raises:
        ValueError: If there is no such code, or it does not take the arguments.
        ImportError: If its module cannot be imported.
    """
    code, arguments = named.code(), named.checked()
    if isinstance(code, type):
        return code(**arguments)
    return FunctionTransform(code, arguments)


def draw_user_parameters(
    transforms: Sequence[NamedTransform],
    seed: Any,
    grid: Sequence[int],
    xp: Any,
    batch: Sequence[int],
) -> dict[str, Any]:
    """Draws the parameters of user-defined transforms, each from a derived seed.

    Returns:
        Dict of float32 arrays, the names with the number of the transform before them.
    """
    drawn = {}
    for number, named in enumerate(transforms):
        transform = transform_of(named)
        derived = xp.fold_in(seed, _STREAM + number)
        shape = (*batch, transform.count(len(grid)))
        unit = xp.cast(xp.uniform(derived, shape), "float32")
        parameters = transform.draw(unit, grid, xp, xp.fold_in(derived, 1))
        for name, value in parameters.items():
            drawn[f"{_prefix(number)}{name}"] = xp.cast(value, "float32")
    return drawn


def with_user_parameters(
    transforms: Sequence[NamedTransform], drawn: Mapping[str, Any], dimensions: int
) -> list[tuple[Transform, dict[str, Any]]]:
    """Returns user-defined transforms with their parameters.

    Transforms that take random numbers and have no parameters in `drawn` are left out,
    as built-in ones are.
    """
    found = []
    for number, named in enumerate(transforms):
        transform, prefix = transform_of(named), _prefix(number)
        parameters = {
            name.removeprefix(prefix): value
            for name, value in drawn.items()
            if name.startswith(prefix)
        }
        if parameters or not transform.count(dimensions):
            found.append((transform, parameters))
    return found


def _prefix(number):
    return f"transforms.{number}."
