"""The class of a builder: its attributes, and its files and names in TFDS."""

import inspect
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import registered

from scn_keras.landmark_schema import LandmarkSchema


def check_attributes(cls: type[Any]) -> None:
    """Validates the attributes that a subclass of `LandmarkBuilder` defines.

    Raises:
        ValueError: If `SCHEMA` is missing, or an attribute has an invalid value.
    """
    name = cls.__qualname__
    if not hasattr(cls, "SCHEMA"):
        raise ValueError(
            "A landmark builder needs a `SCHEMA`, a LandmarkSchema with the names "
            f"of its landmarks. Received: class {name} without one"
        )
    if not isinstance(cls.SCHEMA, LandmarkSchema):
        raise ValueError(
            f"`SCHEMA` of {name} must be a LandmarkSchema, such as "
            f'LandmarkSchema(("left", "right")). Received: SCHEMA={cls.SCHEMA!r}'
        )
    if cls.DIMENSIONS not in (2, 3):
        raise ValueError(
            f"`DIMENSIONS` of {name} must be 2 or 3. "
            f"Received: DIMENSIONS={cls.DIMENSIONS!r}"
        )
    try:
        np.dtype(cls.IMAGE_DTYPE)
    except TypeError as error:
        raise ValueError(
            f"`IMAGE_DTYPE` of {name} must be the name of a NumPy dtype, such as "
            f"'uint8'. Received: IMAGE_DTYPE={cls.IMAGE_DTYPE!r}"
        ) from error
    for attribute in ("OBSERVERS", "GROUND_TRUTHS"):
        if isinstance(value := getattr(cls, attribute), str):
            raise ValueError(
                f"`{attribute}` of {name} must be a tuple of names, such as "
                f"({value!r},). Received: {attribute}={value!r}"
            )


def check_version(cls: type[Any]) -> None:
    """Raises a ValueError if a class without configurations has no version."""
    if getattr(cls, "VERSION", None) is None and not cls.BUILDER_CONFIGS:
        raise ValueError(
            f"A landmark builder needs a `VERSION`, such as "
            f'tfds.core.Version("1.0.0"). Received: class {cls.__qualname__} without '
            "one"
        )


def class_name(cls: type[Any]) -> str | None:
    """Returns `"module:Class"` of a user-defined builder.

    Returns:
        Str; None for the builders of this package and for classes in a notebook, which
        no other program can import.
    """
    module = cls.__module__
    if module.startswith("scn_keras."):
        return None
    if module == "__main__":
        main = sys.modules["__main__"]
        if (spec := getattr(main, "__spec__", None)) is not None:
            module = spec.name
        elif file := getattr(main, "__file__", None):
            module = Path(file).stem
        else:
            return None
    return f"{module}:{cls.__qualname__}"


def forget_earlier_definition(cls: type[Any]) -> None:
    """Lets a class be defined again, as a cell or a file that is run twice does.

    TFDS refuses this outside notebooks.
    """
    for classes in (
        registered._DATASET_REGISTRY,
        registered._ABSTRACT_DATASET_REGISTRY,
    ):
        for name, known in list(classes.items()):
            if (known.__module__, known.__qualname__) == (
                cls.__module__,
                cls.__qualname__,
            ):
                del classes[name]


def set_code_path(cls: type[Any]) -> None:
    """Sets the file of a builder, in whose folder README.md and CITATIONS.bib are.

    TFDS infers it from the name of the module, and would not find these files in an
    editable install, where datasets/ is linked.
    """
    try:
        code_path = tfds.core.Path(inspect.getfile(cls))
    except (OSError, TypeError):  # a class in a notebook, which TFDS supports
        return
    cls.code_path = code_path
    cls.pkg_dir_path = code_path.parent
