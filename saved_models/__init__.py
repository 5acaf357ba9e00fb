"""Trained models as SavedModels for TF Serving: bytes in, millimetres out."""

import pathlib
from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if __name__ == "saved_models":
    raise ModuleNotFoundError(
        "No module named 'saved_models': the folder of that name in a checkout of "
        "scn-keras is imported as scn_keras.saved_models.",
        name="saved_models",
    )

if TYPE_CHECKING:
    from scn_keras.saved_models.client.client import Client as Client
    from scn_keras.saved_models.client.prediction_error import (
        PredictionError as PredictionError,
    )
    from scn_keras.saved_models.exporting.export import export as export
    from scn_keras.saved_models.exporting.parity import (
        largest_difference as largest_difference,
    )
    from scn_keras.saved_models.predicting.predict import predict as predict
    from scn_keras.saved_models.predicting.prediction import Prediction as Prediction
    from scn_keras.saved_models.publishing.make_preset import make_preset as make_preset
    from scn_keras.saved_models.server.server import serve as serve

# Most of these import TensorFlow.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Client": "client.client",
        "Prediction": "predicting.prediction",
        "PredictionError": "client.prediction_error",
        "export": "exporting.export",
        "largest_difference": "exporting.parity",
        "make_preset": "publishing.make_preset",
        "predict": "predicting.predict",
        "serve": "server.server",
    },
)


def locate_bytes_path() -> pathlib.Path:
    """Returns the path of the client that needs TensorFlow alone."""
    return pathlib.Path(__file__).parent / "exporting" / "minimal_client.py"
