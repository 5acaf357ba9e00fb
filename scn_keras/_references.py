"""References to functions and classes by name, `"module:attribute"`.

A recipe stores names and plain values, never code. A name without a colon refers to a
built-in part, which the callers of `resolve` look up.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def resolve(name: str, what: str) -> Any:
    """Returns the object to which `"module:attribute"` refers.

    The module is searched in Python's module path, then in the working directory, so
    that commands find modules in the folder of a recipe file.

    Args:
        name: Str, such as `"my_hands:trunk"` or `"my.package:Class.method"`.
        what: Str, the setting that contains the name, for messages.

    Raises:
        ValueError: If the name has another form, or the module has no such attribute.
        ImportError: If the module cannot be imported. The message contains its name.

    Example:

    >>> resolve("keras.losses:Huber", "loss").__name__
    'Huber'
    """
    module_name, colon, path = name.partition(":")
    if not (colon and module_name and path):
        raise ValueError(
            f"`{what}` must be a built-in name or have the form module:attribute. "
            f"Received: {what}={name!r}"
        )
    value = _import(module_name, name, what)
    for attribute in path.split("."):
        if not hasattr(value, attribute):
            raise ValueError(
                f"The module {module_name} has no {path!r}, to which `{what}` refers. "
                f"Received: {what}={name!r}"
            )
        value = getattr(value, attribute)
    return value


def name_of(value: Any, what: str) -> str:
    """Returns `"module:attribute"` of a function or class.

    Args:
        value: Function or class, defined at the top level of a module.
        what: Str, the setting that contains it, for messages.

    Raises:
        ValueError: If it cannot be imported by a name, such as a lambda.

    Example:

    >>> name_of(keras.losses.Huber, "loss")
    'keras.losses:Huber'
    """
    module = getattr(value, "__module__", None)
    path = getattr(value, "__qualname__", "")
    if not callable(value) or module is None or not path or "<" in path:
        nested = "A lambda or a nested function is not supported. " * ("<" in path)
        raise ValueError(
            f"`{what}` must be a name, or a function or class at the top level of a "
            f"module, which another program can import. {nested}"
            f"Received: {what}={value!r}"
        )
    return f"{_public_module(value, module, path)}:{path}"


def checked_arguments(
    function: Any,
    arguments: Mapping[str, Any],
    what: str,
    reserved: Sequence[str] = (),
    named_only: bool = False,
) -> dict[str, Any]:
    """Validates arguments with the signature of a function or class.

    Args:
        function: Callable.
        arguments: Mapping of keyword arguments.
        what: Str, the setting of the arguments, for messages.
        reserved: Names of arguments that the caller itself passes. They are neither
            accepted nor returned.
        named_only: Bool, whether arguments that a callable accepts only by `**kwargs`
            are invalid.

    Returns:
        Dict of the arguments, including the defaults of the signature. For a callable
        with `**kwargs`, further arguments are returned unchanged.

    Raises:
        ValueError: If an argument is not accepted, or an argument without a default is
            missing.

    Example:

    >>> checked_arguments(round, {"number": 2.5}, "rounding")
    {'number': 2.5, 'ndigits': None}
    """
    signature = signature_of(function, what)
    parameters = [
        p
        for p in signature.parameters.values()
        if p.name not in reserved and p.name not in ("self", "kwargs")
    ]
    by_name = {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD,)}
    by_name = {
        k: p
        for k, p in by_name.items()
        if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)
    }
    takes_any = not named_only and any(
        p.kind == p.VAR_KEYWORD for p in signature.parameters.values()
    )
    label = getattr(function, "__name__", str(function))
    for name in arguments:
        if name in reserved or (name not in by_name and not takes_any):
            raise ValueError(
                f"{label} takes no argument `{name}`; it takes "
                f"{', '.join(by_name) or 'none'}. "
                f"Received: {what}.{name}={arguments[name]!r}"
            )
    checked = dict(arguments)
    for name, parameter in by_name.items():
        if name in checked:
            continue
        if parameter.default is parameter.empty:
            raise ValueError(
                f"{label} needs the argument `{name}`, which has no default. "
                f"Received: {what}={dict(arguments)}"
            )
        checked[name] = parameter.default
    # In the order of the signature, so that equal settings are written equally.
    order = [*by_name, *(name for name in checked if name not in by_name)]
    return {name: checked[name] for name in order}


def signature_of(function: Any, what: str) -> inspect.Signature:
    """Returns the signature of a function or class.

    Args:
        function: Any object.
        what: Str, the setting that refers to it, for messages.

    Raises:
        ValueError: If it is not callable or has no signature.
    """
    if not callable(function):
        raise ValueError(
            f"`{what}` must refer to a function or class. "
            f"Received: {what}={function!r}, a {type(function).__name__}"
        )
    try:
        return inspect.signature(function)
    except ValueError as error:  # some functions written in C
        raise ValueError(
            f"`{what}` must refer to a function or class with a signature. "
            f"Received: {what}={function!r}"
        ) from error


def _import(module_name: str, name: str, what: str) -> Any:
    # In a graph of TensorFlow, AutoGraph would warn that it cannot convert the import.
    if module_name in sys.modules:
        return sys.modules[module_name]
    try:
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name.split(".")[0] or os.getcwd() in sys.path:
                raise
        sys.path.append(os.getcwd())
        try:
            return importlib.import_module(module_name)
        finally:
            sys.path.remove(os.getcwd())
    except ModuleNotFoundError as error:
        raise _not_importable(module_name, name, what, error) from error
    except Exception as error:
        raise ValueError(
            f"The module {module_name!r} cannot be imported, because it raises "
            f"{type(error).__name__}: {error}. Correct it. Received: {what}={name!r}"
        ) from error


def _not_importable(
    module_name: str, name: str, what: str, error: ModuleNotFoundError
) -> ImportError:
    missing = "" if error.name == module_name else f" ({error.name} is missing)"
    return ImportError(
        f"The module {module_name!r} cannot be imported{missing}, and `{what}` needs "
        "it. Run the command in the folder that holds the module, or add that folder "
        f"to PYTHONPATH. Received: {what}={name!r}",
        name=module_name,
    )


def _public_module(value: Any, module: str, path: str) -> str:
    """Returns the shortest name of a loaded module of a package with an object."""
    package = module.partition(".")[0]
    exporting = [
        name
        for name, loaded in sys.modules.copy().items()
        if name.partition(".")[0] == package
        and ".src" not in name
        # `getattr` would import the lazily loaded modules of packages.
        and getattr(loaded, "__dict__", {}).get(path) is value
    ]
    return min(exporting, key=lambda name: (name.count("."), name), default=module)
