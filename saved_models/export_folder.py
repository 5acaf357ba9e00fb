"""The files of an exported model: landmarks, model card and settings."""

import json
import pathlib
from typing import Any

from scn_keras.inference.image_to_grid import ImageToGrid


def beside(model: str | pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a file that describes an exported model."""
    folder = pathlib.Path(model)
    extra = folder / "assets.extra"
    return (extra if extra.is_dir() else folder) / name


def landmark_names(model: str | pathlib.Path) -> list[str]:
    """Returns the names of an exported model's landmarks."""
    return list(json.loads(beside(model, "landmarks.json").read_text("utf-8"))["names"])


def image_to_grid_of(model: str | pathlib.Path) -> ImageToGrid:
    """Returns the `ImageToGrid` of a model that was exported by any version."""
    recipe = json.loads(beside(model, "export.json").read_text("utf-8"))["recipe"]
    settings = recipe.get("image_to_grid", recipe)
    names = ("grid", "grid_spacing", "normalization", "normalization_limits")
    values: dict[str, Any] = {name: settings[name] for name in names}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return ImageToGrid(**values)
