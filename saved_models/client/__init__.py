"""A client of served models, over REST and gRPC."""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.saved_models.client.client import Client as Client
    from scn_keras.saved_models.client.client import predict_served as predict_served
    from scn_keras.saved_models.client.prediction_error import (
        PredictionError as PredictionError,
    )

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Client": "client",
        "PredictionError": "prediction_error",
        "predict_served": "client",
    },
)
