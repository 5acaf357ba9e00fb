"""Data sets of images with landmarks, as TFDS builders.

Importing this package loads neither TensorFlow nor TFDS. A builder registers itself
with TFDS when its own package is imported, or by `builder_class`:

```python
import scn_keras.datasets.cephalogram
import tensorflow_datasets as tfds

train = tfds.load("cephalogram", split="train")
```

`prepare` writes a data set to disk first.
"""

import importlib
from typing import TYPE_CHECKING

if __name__ == "datasets":
    raise ModuleNotFoundError(
        "No module named 'datasets': the folder of that name in a checkout of "
        "scn-keras is imported as scn_keras.datasets.",
        name="datasets",
    )

from scn_keras.datasets.case import Case as Case
from scn_keras.datasets.dataset_folder_error import (
    DatasetFolderError as DatasetFolderError,
)
from scn_keras.datasets.prepare import prepare as prepare

if TYPE_CHECKING:
    from scn_keras.datasets.landmark_builder import LandmarkBuilder

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
        name: str, one of `builder_names()`.

    Raises:
        ValueError: If no data set of this package has that name.

    Example:

    >>> len(builder_class("cephalogram").SCHEMA)
    19
    """
    if name not in _BUILDERS:
        raise ValueError(
            f"There is no data set of this name. Received: name={name!r}. Known names: "
            f"{', '.join(_BUILDERS)}."
        )
    module = importlib.import_module(f"{__name__}.{name}.{name}_dataset_builder")
    return module.Builder


def __getattr__(name: str):
    if name == "LandmarkBuilder":  # loads TFDS
        module = importlib.import_module("scn_keras.datasets.landmark_builder")
        return module.LandmarkBuilder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "LandmarkBuilder"])
