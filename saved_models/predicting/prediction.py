"""The result of a prediction, `LocatedImage` under the name `Prediction`."""

from collections.abc import Mapping

import numpy as np

from scn_keras.inference.located_image import LocatedImage as Prediction
from scn_keras.inference.presence import MIN_SCORE
from scn_keras.saved_models.predicting.image_source import ImageSource


def prediction_of(
    source: ImageSource,
    outputs: Mapping[str, np.ndarray],
    calibration_source: str | None = None,
) -> Prediction:
    """Returns the result of one file, with the affine of the file.

    A note is added if no landmark was found.

    Args:
        source: `ImageSource` of the file.
        outputs: Mapping of the outputs of a model for this image.
        calibration_source: Str or `None`, see `LocatedImage`.
    """
    notes = source.notes
    if np.max(outputs["score"]) < MIN_SCORE:
        notes += (
            f"{source.file}: all scores are below {MIN_SCORE}. The model is hardly "
            "trained, or the image is unlike its training images.",
        )
    return Prediction.from_outputs(
        outputs,
        str(source.file),
        source.affine,
        notes=notes,
        calibration_source=calibration_source,
    )
