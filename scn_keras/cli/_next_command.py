"""The line that tells which command to run next."""

import os
import pathlib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scn_keras.training import Recipe


def next_line(
    arguments: Sequence[object], data_dir: str | os.PathLike[str] | None = None
) -> str:
    """Returns the line for a command that needs no user-defined parts.

    Args:
        arguments: Sequence of objects, which are quoted for the shell.
        data_dir: The folder of prepared data sets, if it is not the default.
    """
    words = ["scn-keras", *map(str, arguments)]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return f"Next: {shlex.join(words)}"


def next_command(
    arguments: Sequence[object],
    recipe: "Recipe",
    data_dir: str | os.PathLike[str] | None = None,
) -> str:
    """Returns the line for a command that works with a run of a recipe.

    If the recipe has user-defined parts that Python does not find from the working
    directory, the command starts with the folder of their modules.

    Args:
        arguments: Sequence of objects, such as `("evaluate", run.path)`. They are
            quoted for the shell.
        recipe: `Recipe` of the run.
        data_dir: The folder of prepared data sets, if it is not the default.

    Returns:
        Str, such as `"Next: PYTHONPATH=mine scn-keras evaluate runs/hands"`.
    """
    line = next_line(arguments, data_dir)
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    from_environment = {pathlib.Path(path).resolve() for path in given}
    found = {pathlib.Path(path).resolve() for path in sys.path} - from_environment
    found.add(pathlib.Path.cwd())
    folders = sorted(_module_folders(recipe.to_dict()) - found)
    if not folders:
        return line
    new = [_relative(path) for path in folders if path not in from_environment]
    path = shlex.quote(os.pathsep.join(new + given))
    return line.replace("Next: ", f"Next: PYTHONPATH={path} ", 1)


def _module_folders(value: Any) -> set[pathlib.Path]:
    """Returns the folders of the modules to which the values of a recipe refer."""
    folders = set()
    for text in _strings(value):
        if match := re.fullmatch(r"(\w+)(\.\w+)*:[\w.]+(/\w+)?", text):
            file = getattr(sys.modules.get(match[1]), "__file__", None)
            if file is not None:
                path = pathlib.Path(file).resolve()
                if path.name == "__init__.py":
                    path = path.parent
                folders.add(path.parent)
    return folders


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _relative(path: pathlib.Path) -> str:
    current = pathlib.Path.cwd()
    return str(path.relative_to(current) if path.is_relative_to(current) else path)
