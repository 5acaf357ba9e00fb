"""Anatomical landmark localisation for Keras 3.

Subpackages load when they are first used, so that `import scn_keras` and the
command line start without waiting for a deep-learning framework.
"""

import importlib
import sys
from typing import TYPE_CHECKING

from scn_keras._moved import MovedModuleFinder

if TYPE_CHECKING:
    from scn_keras import classical as classical
    from scn_keras import datasets as datasets
    from scn_keras import files as files
    from scn_keras import geometry as geometry
    from scn_keras import inference as inference
    from scn_keras import layers as layers
    from scn_keras import losses as losses
    from scn_keras import metrics as metrics
    from scn_keras import models as models
    from scn_keras import optimizers as optimizers
    from scn_keras import pictures as pictures
    from scn_keras import saved_models as saved_models
    from scn_keras import training as training
    from scn_keras import warp as warp
    from scn_keras.landmark_schema import LandmarkSchema as LandmarkSchema

__version__ = "0.1.0"

sys.meta_path.append(MovedModuleFinder())

_SUBPACKAGES = (
    "classical",
    "datasets",
    "files",
    "geometry",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "pictures",
    "saved_models",
    "training",
    "warp",
)


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "LandmarkSchema":
        return importlib.import_module(f"{__name__}.landmark_schema").LandmarkSchema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES, "LandmarkSchema"])
