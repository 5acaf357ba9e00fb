import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from scn_keras._references import checked_arguments, name_of, resolve
from scn_keras.training.augmentation._built_in import BY_NAME
from scn_keras.training.augmentation.geometric_transform import GeometricTransform
from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.transform import Transform

_SETTING = "augmentation.transforms"
_PACKAGE = "scn_keras.training.augmentation:"
_MODULE_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclasses.dataclass(frozen=True)
class NamedTransform:
    """The name and the arguments of a transform, as stored in a recipe.

    The code is looked up when images are augmented. Reading a recipe and using a model
    do not require it.

    Args:
        name: Str, `"module:attribute"` of a function or a class, or the name of a
            built-in transform such as `"Gamma"`.
        arguments: Dict, the arguments: numbers, strings, Booleans, `None`, and lists
            and dicts of them. Tuples become lists.

    Raises:
        ValueError: If the name has neither of these forms, or an argument is another
            value.

    Example:

    >>> from scn_keras.training.augmentation import Gamma, NamedTransform
    >>> NamedTransform.of(Gamma(0.3))
    NamedTransform(name='Gamma', arguments={'gamma': 0.3})
    """

    name: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not (
            name in BY_NAME or _MODULE_ATTRIBUTE.fullmatch(name)
        ):
            raise ValueError(
                "The name of a transform must be module:attribute or one of "
                f"{', '.join(BY_NAME)}. Received: {_SETTING}={name!r}"
            )
        try:
            plain = json.loads(json.dumps(dict(self.arguments), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The arguments of the transform {name!r} must be values that JSON can "
                f"represent, such as numbers. Received: arguments={self.arguments!r}"
            ) from error
        if name.removeprefix(_PACKAGE) in BY_NAME:
            object.__setattr__(self, "name", name.removeprefix(_PACKAGE))
        object.__setattr__(self, "arguments", plain)

    def __hash__(self) -> int:
        return hash((self.name, *sorted(self.arguments)))

    @classmethod
    def of(cls, transform: Any) -> "NamedTransform":
        """Creates a `NamedTransform` from any form in which a transform can be given.

        If the code is given, omitted arguments take its defaults.

        Args:
            transform: `NamedTransform`; a name; a dict with `name` and, optionally,
                `arguments`; a function of `(image, parameters, xp, **arguments)`; a
                `functools.partial` of such a function, with keyword arguments; a class
                that derives from `Transform`, or an instance of one.

        Raises:
            ValueError: If it is none of these, or does not accept the arguments.
        """
        if isinstance(transform, NamedTransform):
            return transform
        if isinstance(transform, str):
            return cls(transform)
        if isinstance(transform, Mapping):
            unknown = sorted(set(transform) - {"name", "arguments"})
            if unknown or "name" not in transform:
                raise ValueError(
                    "A transform must have the form {'name': ..., 'arguments': {...}}. "
                    f"Received: {_SETTING}={dict(transform)!r}"
                )
            name, arguments = transform["name"], transform.get("arguments", {})
            if isinstance(name, str):
                return cls(name, arguments)
            return cls._of_code(name, arguments)
        if isinstance(transform, Transform):
            return cls._of_code(type(transform), transform.get_config())
        if isinstance(transform, functools.partial) and not transform.args:
            return cls._of_code(transform.func, transform.keywords)
        return cls._of_code(transform, {})

    @classmethod
    def _of_code(cls, code, arguments):
        _require_code(code, code)
        arguments = checked_arguments(code, arguments, _SETTING, reserved_of(code))
        return cls(name_of(code, _SETTING), arguments)

    def code(self) -> Any:
        """Returns the function, or the class that derives from `Transform`.

        Raises:
            ValueError: If the attribute does not exist or is neither of the two.
            ImportError: If its module cannot be imported.
        """
        if self.name in BY_NAME:
            return BY_NAME[self.name]
        code = resolve(self.name, _SETTING)
        _require_code(code, self.name)
        return code

    def checked(self) -> dict[str, Any]:
        """Returns the arguments, completed with the defaults of the code.

        Raises:
            ValueError: If the code does not accept the arguments.
        """
        code = self.code()
        label = f"{_SETTING}[{self.name!r}]"
        return checked_arguments(code, self.arguments, label, reserved_of(code))


def reserved_of(code: Any) -> list[str]:
    """Returns the names of the arguments that are passed to a function in each call.

    Raises:
        ValueError: If a function has fewer than three required positional arguments.
    """
    if isinstance(code, type):
        return []
    positional = [
        p.name
        for p in inspect.signature(code).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.default is p.empty
    ][:3]
    if len(positional) < 3:
        raise ValueError(
            "A function that transforms grey values must take (image, parameters, xp) "
            f"and optional keyword arguments. Received: {code.__name__}"
            f"{inspect.signature(code)}"
        )
    return positional


def _require_code(code, received):
    if isinstance(code, type):
        if issubclass(code, (GeometricTransform, IntensityTransform)):
            return
    elif inspect.isfunction(code):
        return
    raise ValueError(
        "A transform must be a function, or a class that derives from "
        f"GeometricTransform or IntensityTransform. Received: {_SETTING}={received!r}"
    )
