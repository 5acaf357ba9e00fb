"""The description of a builder that is stored with its prepared set."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scn_keras.datasets._tfds_class import class_name
from scn_keras.files.orientation import REFUSED
from scn_keras.files.shown_command import shown_command
from scn_keras.landmark_schema import LandmarkSchema

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

_MAX_SHOWN = 10


def description(builder: "LandmarkBuilder") -> dict[str, Any]:
    """Returns the attributes for readers without the builder's code, for JSON."""
    name = class_name(type(builder))
    return {
        "landmarks": builder.SCHEMA.to_dict(),
        "dimensions": builder.DIMENSIONS,
        "image_dtype": builder.IMAGE_DTYPE,
        "observers": list(builder.OBSERVERS),
        "ground_truths": list(builder.GROUND_TRUTHS),
        "subsets": {
            name: {"split": split, "ids": sorted(ids)}
            for name, (split, ids) in builder.SUBSETS.items()
        },
        "spacing_rule": builder.SPACING_RULE,
        "orientation": REFUSED,
        **({} if name is None else {"class": name}),
    }


def stored_description(data_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the description in a prepared set, empty if it has none."""
    path = Path(data_dir) / "metadata.json"
    stored = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return stored if "landmarks" in stored else {}


def restore(builder: "LandmarkBuilder", stored: Mapping[str, Any]) -> None:
    """Sets the attributes of an instance to those of a stored description."""
    builder.SCHEMA = LandmarkSchema.from_dict(stored["landmarks"])
    builder.DIMENSIONS = stored["dimensions"]
    builder.IMAGE_DTYPE = stored["image_dtype"]
    builder.OBSERVERS = tuple(stored["observers"])
    builder.GROUND_TRUTHS = tuple(stored["ground_truths"])
    builder.SUBSETS = {
        name: (subset["split"], frozenset(subset["ids"]))
        for name, subset in stored["subsets"].items()
    }
    builder.SPACING_RULE = stored["spacing_rule"]


def compare_with_stored(builder: "LandmarkBuilder") -> None:
    """Compares the class of a builder with the one that made its prepared set.

    Raises:
        ValueError: If the class is another one, or its landmarks or the form of its
            samples have been changed.
    """
    if not (stored := stored_description(builder.data_dir)):
        return
    cls = type(builder)
    name, made_by = class_name(cls), stored.get("class")
    before, after = _differences(stored, description(builder))
    is_same_class = made_by is None or _is_same_class(made_by, cls)
    if is_same_class and not before:
        return
    config = builder.builder_config
    reference = f"{name or builder.name}{f'/{config.name}' if config else ''}"
    advice = "Give the class a new VERSION" if is_same_class else "Rename the class"
    raise ValueError(
        f"The prepared set {builder.data_dir} was made by "
        f"{made_by or 'a builder'}{_with(before)}. "
        f"Received: {name or cls.__qualname__}{_with(after)}. "
        f"{advice}, or prepare the set again with "
        f"{prepare_command(builder, reference, '--overwrite')}."
    )


def prepare_command(builder: "LandmarkBuilder", name: str, *options: str) -> str:
    """Returns the command that prepares a data set, for a message.

    Args:
        builder: `LandmarkBuilder`.
        name: Str, the name of the set for commands.
        *options: Str, further options.
    """
    words = ["datasets", "prepare", name, *options]
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS is not None:
        words += ["--manual-dir", "FOLDER"]
    return shown_command(*words)


# The attributes that the samples depend on; links, for example, may be changed.
_FORMS = {
    "landmarks": "the landmarks {}",
    "dimensions": "{} dimensions",
    "image_dtype": "{} images",
    "observers": "the observers {}",
    "ground_truths": "the ground truths {}",
}


def _differences(
    stored: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Returns phrases for the attributes that differ, before and after."""
    before, after = [], []
    for key, form in _FORMS.items():
        was, now = stored.get(key), own[key]
        if key == "landmarks":
            was = list(LandmarkSchema.from_dict(stored[key]).names)
            now = list(LandmarkSchema.from_dict(now).names)
        if was is not None and was != now:
            before.append(form.format(_values(was, now)))
            after.append(form.format(_values(now, was)))
    return before, after


def _values(values: Any, others: Any) -> str:
    """Lists values, of a long list only those around the first difference."""
    if not isinstance(values, list):
        return str(values)
    pairs = enumerate(zip(values, others, strict=False))
    same = min(len(values), len(others))
    first = next((n for n, (value, other) in pairs if value != other), same)
    if first >= _MAX_SHOWN // 2:
        values = ["...", *values[first - 1 :]]
    if len(values) > _MAX_SHOWN:
        values = [*values[:_MAX_SHOWN], "..."]
    return ", ".join(values) or "()"


def _with(phrases: list[str]) -> str:
    return f" with {' and '.join(phrases)}" if phrases else ""


def _is_same_class(made_by: str, cls: type[Any]) -> bool:
    name = class_name(cls)
    if name is None:  # a class in a notebook, or a built-in one, which stores no name
        return cls.__module__ == "__main__"
    # One file can be imported as `parts` in its folder and as `project.parts`.
    return f".{made_by}".endswith(f".{name}") or f".{name}".endswith(f".{made_by}")
