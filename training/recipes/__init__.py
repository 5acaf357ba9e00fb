"""Recipes: one Python module an experiment, each with a function `recipe()`."""

import importlib
import importlib.util
import pathlib
import pkgutil

from scn_keras.training.recipe import Recipe


def recipe_names() -> list[str]:
    """Returns the names of the recipes that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_recipe(name: str) -> Recipe:
    """Returns a recipe by its name or by the path of a Python file.

    Args:
        name: Str, one of `recipe_names()`, or the path of a file that ends in
            `.py` and defines `recipe()`. The file is executed.

    Raises:
        ValueError: If there is no such recipe, or the file defines none.

    Example:

    >>> load_recipe("cephalogram_fast").dataset
    'cephalogram'
    """
    if name.endswith(".py"):
        path = pathlib.Path(name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ValueError(f"There is no recipe file {name!r}.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif name in recipe_names():
        module = importlib.import_module(f"{__name__}.{name}")
    else:
        raise ValueError(
            f"There is no recipe {name!r}. There are: {', '.join(recipe_names())}; or "
            "give the path of a Python file that defines recipe()."
        )
    result = module.recipe() if hasattr(module, "recipe") else None
    if not isinstance(result, Recipe):
        raise ValueError(
            f"{name!r} must define a function recipe() that returns a Recipe. "
            f"Received: {result!r}"
        )
    return result
