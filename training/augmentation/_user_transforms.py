"""Creation of user-defined transforms and drawing of their parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.named_transform import NamedTransform
from scn_keras.training.augmentation.transform import Transform

# Added to the number of a transform when its seed is derived. It is far from the small
# numbers of other streams of the same seed.
_STREAM = 1 << 30


class FunctionTransform(IntensityTransform):
    """A transform that calls a function `(image, parameters, xp, **arguments)`.

    Args:
        function: Callable. Its attribute `num_parameters` is the number of parameters,
            1 if it does not exist.
        arguments: Mapping, the keyword arguments.
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
    """Creates the transform with a name and its arguments.

    The code is looked up in every call, so that reloaded code is used.

    Raises:
        ValueError: If the code does not exist or does not accept the arguments.
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
    """Draws the parameters of user-defined transforms, each with a derived seed.

    Returns:
        Dict of float32 arrays, whose names begin with the number of the transform.
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

    Transforms that use random numbers but have no parameters in `drawn` are omitted, as
    with built-in transforms.
    """
    pairs = []
    for number, named in enumerate(transforms):
        transform, prefix = transform_of(named), _prefix(number)
        parameters = {
            name.removeprefix(prefix): value
            for name, value in drawn.items()
            if name.startswith(prefix)
        }
        if parameters or not transform.count(dimensions):
            pairs.append((transform, parameters))
    return pairs


def _prefix(number):
    return f"transforms.{number}."
