"""Recipes: one Python module per experiment, each with a function `recipe()`."""

import importlib
import importlib.util
import json
import pathlib
import pkgutil
import re
import sys
import traceback
import types
from typing import Any

from scn_keras.training.recipe import Recipe


def recipe_names() -> list[str]:
    """Returns the names of the recipes in the package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_recipe(name: str) -> Recipe:
    """Returns a recipe by its name, by the path of a Python file, or that of a run.

    Args:
        name: Str, one of `recipe_names()`, the folder of a run or a preset, or the path
            of a file that ends in `.py` and defines `recipe()`. The file is executed
            and imported as a module of its name without `.py`. Parts of the recipe that
            are defined in the file can be used wherever this module can be imported,
            for example by commands in the folder of the file.

    Raises:
        ValueError: If the recipe is unknown, the file cannot be imported or does not
            define a recipe, or another module has the same name.

    Example:

    >>> load_recipe("cephalogram_fast").dataset
    'cephalogram'
    """
    if name.endswith(".py"):
        module = _import_file(pathlib.Path(name))
    elif name in recipe_names():
        module = importlib.import_module(f"{__name__}.{name}")
    elif (stored := pathlib.Path(name).expanduser() / "recipe.json").is_file():
        return Recipe.from_dict(json.loads(stored.read_text("utf-8")))
    else:
        raise ValueError(
            f"There is no recipe {name!r}. Expected one of "
            f"{', '.join(recipe_names())}, the folder of a run, or the path of a "
            "Python file that defines recipe()."
        )
    result = _call_recipe(module) if hasattr(module, "recipe") else None
    if not isinstance(result, Recipe):
        raise ValueError(
            f"{name!r} must define a function recipe() that returns a Recipe. "
            f"Received: {result!r}"
        )
    return result


def _import_file(path: pathlib.Path) -> types.ModuleType:
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"There is no recipe file {str(path)!r}.")
    if not name.isidentifier():
        example = re.sub(r"\W|^(?=\d)", "_", name)
        raise ValueError(
            "The recipe file needs a name that is a Python identifier, such as "
            f"{example}.py. Received: {path.name!r}"
        )
    known = sys.modules.get(name) or _importable(name)
    if name not in sys.modules and _is_folder_of_data(known):
        known = None
    known_file = getattr(known, "__file__", None) or getattr(known, "origin", None)
    if known is not None and not (
        known_file and pathlib.Path(known_file).resolve() == path.resolve()
    ):
        raise ValueError(
            f"The recipe file needs another name, because {name!r} is also the name of "
            f"the module {known_file or name}, and runs refer to user-defined parts by "
            f"the name of their module. Received: {str(path)!r}"
        )
    version = path.stat().st_mtime_ns
    # What Python has imported itself, by the name of a part, has no version yet.
    if name in sys.modules and (
        vars(sys.modules[name]).setdefault(_VERSION, version) == version
    ):
        return sys.modules[name]
    module = importlib.util.module_from_spec(spec)
    vars(module)[_VERSION] = version
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        if not isinstance(error, Exception):
            raise
        raise ValueError(
            f"The recipe file {path} cannot be imported: {_reason(error, path)}."
        ) from error
    return module


def _call_recipe(module: types.ModuleType) -> Any:
    try:
        return module.recipe()
    except (ValueError, FileNotFoundError):  # of a setting, which the message names
        raise
    except Exception as error:
        path = pathlib.Path(module.__file__ or module.__name__)
        raise ValueError(
            f"recipe() in {path} fails: {_reason(error, path)}."
        ) from error


def _reason(error: Exception, path: pathlib.Path) -> str:
    """Returns the message of an error, with its last line in a file."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    if not isinstance(error, ImportError | ValueError):
        message = f"{type(error).__name__}: {message}"
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if pathlib.Path(frame.f_code.co_filename).resolve() == path.resolve()
    ]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        lines = [error.lineno] if not lines else lines
    return message.rstrip(".") + (f" (line {lines[-1]})" if lines else "")


# The attribute with the modification time of a file, which is executed again if it has
# changed since it was imported.
_VERSION = "__scn_keras_version__"


def _importable(name: str) -> Any:
    """Returns the specification of an importable module of a name, or `None`."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _is_folder_of_data(spec: Any) -> bool:
    """Whether Python would import a folder without code, such as one of images.

    Python prefers a module to such a folder wherever it finds both.
    """
    if spec is None or spec.origin is not None or not spec.submodule_search_locations:
        return False
    folders = [pathlib.Path(path) for path in spec.submodule_search_locations]
    return not any(any(f.glob(g)) for f in folders for g in ("*.py", "*/*.py"))
