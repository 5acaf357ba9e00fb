"""Anatomical landmark localisation for Keras 3.

Subpackages load when they are first used, so that `import scn_keras` and the
command line start without waiting for a deep-learning framework.
"""

import importlib
import pathlib

__version__ = "0.1.0"

_ROOT = pathlib.Path(__file__).parents[1]
if (_ROOT / "setup.cfg").is_file():
    # A checkout: datasets/, training/ and saved_models/ lie beside this folder.
    # Without this line they would be importable only from an installed package.
    __path__.append(str(_ROOT))

_SUBPACKAGES = (
    "datasets",
    "files",
    "geometry",
    "layers",
    "losses",
    "metrics",
    "models",
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
