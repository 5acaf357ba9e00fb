"""Stores the settings and arrays of a fitted model without pickle."""

import json
import os
import pathlib

import numpy as np


def save_arrays(path, settings, arrays):
    """Writes a `.npz` file atomically.

    Args:
        path: Path.
        settings: Values for JSON.
        arrays: Mapping of names to arrays.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"{path.name}.part")
    with open(temporary, "wb") as file:
        np.savez_compressed(file, settings=json.dumps(settings), **arrays)
    os.replace(temporary, path)


def load_arrays(path, kind):
    """Returns settings and arrays of a file of `save_arrays`.

    Raises:
        ValueError: If the file is not that of a model of a kind.
    """
    path = pathlib.Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = json.loads(str(arrays.pop("settings")))
    except (ValueError, KeyError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{path} is not a model of {kind}, as its method `save` writes it. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(settings, dict) or settings.get("kind") != kind:
        raise ValueError(
            f"The file is of another kind of model. Expected: {kind}. Received: {path}"
        )
    return settings, arrays


def nested(prefix, arrays):
    """Returns arrays under names with a prefix."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def part(prefix, arrays):
    """Returns the arrays that `nested` gave a prefix."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array
        for name, array in arrays.items()
        if name.startswith(start)
    }
