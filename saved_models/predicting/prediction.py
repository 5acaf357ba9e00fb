"""The result of a prediction: `LocatedImage`, by the name that it has here."""

from collections.abc import Mapping

import numpy as np

from scn_keras.inference.located_image import LocatedImage as Prediction
from scn_keras.saved_models.predicting.image_source import ImageSource


def prediction_of(source: ImageSource, outputs: Mapping[str, np.ndarray]) -> Prediction:
    """Returns the result for one file, in the file's own space.

    Args:
        source: `ImageSource`, the file as it was read.
        outputs: Mapping, the outputs of a model for this image, by name.
    """
    return Prediction.from_outputs(
        outputs, str(source.file), source.affine, notes=source.notes
    )
