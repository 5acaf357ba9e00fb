"""Prediction of landmarks in image files, and the output files.

The function `predict` is `scn_keras.saved_models.predict`.
"""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.saved_models.predicting.prediction import Prediction as Prediction
    from scn_keras.saved_models.predicting.prediction_files import (
        write_csv as write_csv,
    )
    from scn_keras.saved_models.predicting.prediction_files import (
        write_markups as write_markups,
    )

# Loaded lazily, because these modules import Keras.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Prediction": "prediction",
        "write_csv": "prediction_files",
        "write_markups": "prediction_files",
    },
)
