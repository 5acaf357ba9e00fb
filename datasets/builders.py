"""Builders of data sets by their names."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from scn_keras._references import resolve

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

_PACKAGE = "scn_keras.datasets"
_BUILDERS = (
    "cephalogram",
    "hand_xray",
    "landmark_folder",
    "synthetic_hand",
    "synthetic_volume",
)


def builder_names() -> tuple[str, ...]:
    """Returns the names of the data sets that come with this package.

    Example:

    >>> "cephalogram" in builder_names()
    True
    """
    return _BUILDERS


def builder_class(name: str) -> "type[LandmarkBuilder]":
    """Returns the builder class of a data set, and registers it with TFDS.

    Args:
        name: str, one of `builder_names()`; the name of a builder of your own that
            TFDS knows, because the module that defines it has been imported; or
            `"module:Class"`.

    Raises:
        ImportError: If the module of `"module:Class"` cannot be imported.
        ValueError: If there is no such data set, or more than one, or its builder is
            no `LandmarkBuilder`.

    Example:

    >>> len(builder_class("cephalogram").SCHEMA)
    19
    """
    if name.endswith(".py"):
        stem = os.path.basename(name).removesuffix(".py")
        raise ValueError(
            f"A builder in a file is named by its module and class: write "
            f"{stem}:Class in the folder of the file. Received: name={name!r}"
        )
    if ":" in name:
        return _checked(resolve(name, "dataset"), name)
    own = None
    if name in _BUILDERS:
        module = importlib.import_module(f"{_PACKAGE}.{name}.{name}_dataset_builder")
        own = module.Builder
    registered = _registered_builder(name)
    if own is not None and registered not in (None, own):
        raise ValueError(
            f"The name of the data set is ambiguous: write module:Class for the "
            f"builder of {registered.__module__}, or give it another name. "
            f"Received: name={name!r}"
        )
    if (found := own or registered) is None:
        raise ValueError(
            f"There is no data set of this name. Received: name={name!r}. Known names: "
            f"{', '.join(_BUILDERS)}. For a builder of your own, write module:Class."
        )
    return _checked(found, name)


def _registered_builder(name: str) -> Any:
    """The builder that TFDS has under a name, or `None`."""
    from tensorflow_datasets.core import registered

    # As `tfds.builder_cls`, which lists every data set of TFDS before it fails.
    try:
        return registered.imported_builder_cls(name)
    except registered.DatasetNotFoundError:
        return None


def _checked(builder: Any, name: str) -> "type[LandmarkBuilder]":
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

    if not (isinstance(builder, type) and issubclass(builder, LandmarkBuilder)):
        raise ValueError(
            "A data set of images with landmarks needs a builder that derives from "
            f"scn_keras.datasets.LandmarkBuilder. Received: {name!r}, {builder!r}"
        )
    return builder
