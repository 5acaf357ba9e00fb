import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints

DIVISORS = ("present", "all")


@keras.saving.register_keras_serializable(package="scn_keras")
class ImagePointError(MeanOverPoints):
    """The mean over images of the mean distance of each image's landmarks.

    The unit is that of the points; `LandmarkModel` passes millimetres. Landmarks
    missing (NaN) in the annotation or the prediction add no distance. The reference
    nevertheless divides by the number of all landmarks, so that missing landmarks
    reduce the error of an image. Without missing landmarks both conventions agree.

    Reference: the image-specific point error IPE of Payer et al., Medical Image
    Analysis 54, 2019, section 4.3.

    Args:
        divide_by: `"present"` divides by the number of distances, and an image without
            a distance does not count. `"all"` divides by the number of landmarks, as in
            the reference, and the error of an image without a distance is 0.
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
    >>> predicted = [[[3.0, 4.0], [0.0, 1.0]], [[0.0, 5.0], [0.0, 0.0]]]
    >>> metric.update_state(true, predicted)
    >>> float(metric.result())  # the mean of 3 and 5
    4.0
    """

    _direction = "down"  # read by callbacks with `mode="auto"`

    def __init__(self, divide_by="present", name=None, dtype=None):
        if divide_by not in DIVISORS:
            raise ValueError(
                f"`divide_by` must be one of {DIVISORS}. Received: "
                f"divide_by={divide_by!r}"
            )
        super().__init__("image_point_error", name=name, dtype=dtype)
        self.divide_by = divide_by

    def values(self, y_true, y_pred):
        distance = _formulas.distances(ops, y_true, y_pred)
        return _formulas.image_error(ops, distance, self.divide_by)

    def get_config(self):
        config = {**super().get_config(), "divide_by": self.divide_by}
        del config["landmark"]  # the values are per image
        return config
