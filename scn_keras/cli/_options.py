"""Types and options that several commands share."""

import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Decorator = Callable[[_Function], _Function]

FOLDER = click.Path(file_okay=False, path_type=pathlib.Path)
OUT_FILE = click.Path(dir_okay=False, path_type=pathlib.Path)

DATA_DIR = click.option(
    "--data-dir",
    type=FOLDER,
    help="Folder of the prepared data sets.  [default: $TFDS_DATA_DIR, else "
    "~/tensorflow_datasets]",
)

PER_LANDMARK = click.option(
    "--per-landmark", is_flag=True, help="Also print one row per landmark."
)


def settings_option(
    help: str = "Change a setting of the recipe: a Python literal, see "
    "docs/recipes.md. May be repeated.",
) -> _Decorator:
    """Returns the option `--set KEY=VALUE`, which passes `settings`, a tuple of str."""
    return click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help=help
    )


def require_folders(*paths: pathlib.Path | None) -> None:
    """Raises a usage error if the folder of a file to write does not exist.

    Called before the work, of which the result could not be written.
    """
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(
                f"The folder of {path} does not exist. Create {path.parent} first."
            )


def json_option(help: str) -> _Decorator:
    """Returns the option `--json FILE`, which passes `json_path`, a path or None."""
    return click.option("--json", "json_path", type=OUT_FILE, help=help)
