import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints

DIVISORS = ("present", "all")


@keras.saving.register_keras_serializable(package="scn_keras")
class ImagePointError(MeanOverPoints):
    """The mean over images of each image's mean distance between landmarks.

    In the unit of the points: `LandmarkModel` hands its metrics millimetres. Landmarks
    that are missing (NaN) on either side add no distance. The reference divides by the
    number of all landmarks none the less, so that missing ones make an image better;
    without missing landmarks the two conventions are one.

    Reference: the image-specific point error IPE of Payer et al., Medical Image
    Analysis 54, 2019, section 4.3.

    Args:
        divide_by: `"present"`: by the number of distances; an image without any does
            not count. `"all"`: by the number of landmarks, as the reference does; an
            image without any distance counts as 0.
        name: Str or `None` for `image_point_error`.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)`.

    Raises:
        ValueError: If `divide_by` is unknown.

    Example:

    >>> metric = scn_keras.metrics.ImagePointError()
    >>> true = [[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [np.nan, np.nan]]]
    >>> found = [[[3.0, 4.0], [0.0, 1.0]], [[0.0, 5.0], [0.0, 0.0]]]
    >>> metric.update_state(true, found)
    >>> float(metric.result())  # of 3 and 5
    4.0
    """

    def __init__(self, divide_by="present", name=None, dtype=None):
        if divide_by not in DIVISORS:
            raise ValueError(
                f"`divide_by` must be one of {DIVISORS}. Received: {divide_by!r}"
            )
        super().__init__("image_point_error", name=name, dtype=dtype)
        self.divide_by = divide_by

    def values(self, y_true, y_pred):
        distance = _formulas.distances(ops, y_true, y_pred)
        return _formulas.image_error(ops, distance, self.divide_by)

    def get_config(self):
        config = {**super().get_config(), "divide_by": self.divide_by}
        del config["landmark"]  # it is of images
        return config
