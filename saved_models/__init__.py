"""Trained models as SavedModels for TF Serving: bytes in, millimetres out."""

import importlib
import pathlib

# Public name: the module that defines it. Loaded when used: most import TensorFlow.
_LAZY = {
    "Client": "client",
    "Prediction": "prediction",
    "PredictionError": "prediction_error",
    "export": "export",
    "largest_difference": "parity",
    "predict": "predict",
}


def locate_bytes_path() -> pathlib.Path:
    """Returns the path of `locate_bytes.py`, the client that needs TensorFlow alone."""
    return pathlib.Path(__file__).with_name("locate_bytes.py")


def __getattr__(name: str):
    if name in _LAZY:
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
