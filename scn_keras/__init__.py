"""Anatomical landmark localisation for Keras 3.

Subpackages load when they are first used, so that `import scn_keras` and the
command line start without waiting for a deep-learning framework.
"""

import importlib
import sys

from scn_keras._moved import MovedModuleFinder

__version__ = "0.1.0"

sys.meta_path.append(MovedModuleFinder())

_SUBPACKAGES = (
    "datasets",
    "files",
    "geometry",
    "inference",
    "layers",
    "losses",
    "metrics",
    "models",
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
