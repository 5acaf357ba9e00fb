"""The public names of the package, and the one path at which each is documented."""

import ast
import functools
import importlib
import inspect
import os
import pathlib
import types
from typing import Any, NamedTuple

import scn_keras

# Modules that are imported as `scn_keras.NAME` or `scn_keras.metrics.on_arrays`; other
# public names are those that a package imports in its `__init__.py` as themselves.
MODULES = ("scn_keras.geometry", "scn_keras.metrics.on_arrays", "scn_keras.warp")
# A package cannot export a function whose module has the same name.
EXTRA = {"scn_keras.training.fit": ("fit",)}
# The command line has a page of its own.
_LEFT_OUT = ("scn_keras.cli",)


class PublicName(NamedTuple):
    """A public object, where it is documented, and its other import paths."""

    module: str
    name: str
    value: Any
    aliases: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


@functools.cache
def public_names() -> tuple[PublicName, ...]:
    """Returns all public names, in the order of their modules and of the source."""
    modules = {package: _exported(package) for package in _packages()}
    modules |= {module: _functions_and_classes(module) for module in MODULES}
    modules |= EXTRA
    places: dict[Any, list[tuple[str, str]]] = {}
    for module, names in modules.items():
        for name in names:
            value = getattr(importlib.import_module(module), name)
            # Constants that are equal are not the same constant.
            key = value if hasattr(value, "__qualname__") else (module, name)
            places.setdefault(_hashable(key), []).append((module, name))
    documented = {min(found, key=_rank): found for found in places.values()}
    return tuple(
        PublicName(
            module,
            name,
            getattr(importlib.import_module(module), name),
            tuple(f"{m}.{n}" for m, n in documented[module, name] if m != module),
        )
        for module, names in modules.items()
        for name in names
        if (module, name) in documented
    )


@functools.cache
def paths_by_text() -> dict[str, str]:
    """Returns the documented path of every text that names one public object.

    These are the path, its aliases, the path without `scn_keras.`, and the name alone
    where only one public object has it.
    """
    texts: dict[str, set[str]] = {}
    for entry in public_names():
        for path in (entry.path, *entry.aliases):
            for text in (path, path.removeprefix("scn_keras."), entry.name):
                texts.setdefault(text, set()).add(entry.path)
    return {text: next(iter(paths)) for text, paths in texts.items() if len(paths) == 1}


def _rank(place: tuple[str, str]) -> tuple[int, bool, str]:
    module, name = place
    value = getattr(importlib.import_module(module), name)
    defined = getattr(value, "__module__", module)
    return module.count("."), not defined.startswith(module), module


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _packages() -> list[str]:
    root = pathlib.Path(scn_keras.__file__).parent
    found = []
    # Three of the folders are links.
    for folder, _, files in os.walk(root, followlinks=True):
        if "__init__.py" in files:
            parts = pathlib.Path(folder).relative_to(root).parts
            package = ".".join(("scn_keras", *parts))
            if "._" not in package and package not in _LEFT_OUT:
                found.append(package)
    return sorted(found)


def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _exported(package: str) -> list[str]:
    """Returns what a package imports as itself, or defines, without modules."""
    names = [
        alias.name
        for node in ast.walk(_tree(package))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    ]
    values = {name: getattr(importlib.import_module(package), name) for name in names}
    return [
        *(n for n, value in values.items() if not isinstance(value, types.ModuleType)),
        *_functions_and_classes(package),
    ]


def _functions_and_classes(module: str) -> list[str]:
    return [
        node.name
        for node in _tree(module).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]
