import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints


@keras.saving.register_keras_serializable(package="scn_keras")
class PointError(MeanOverPoints):
    """The mean distance between predicted and true landmarks.

    The unit is that of the points; `LandmarkModel` passes millimetres. Landmarks
    missing (NaN) in the annotation or the prediction do not count.

    Reference: the point error PE of Payer et al., Medical Image Analysis 54, 2019,
    section 4.3.

    Args:
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for `point_error` and the landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Example:

    >>> metric = scn_keras.metrics.PointError()
    >>> metric.update_state([[[0.0, 0.0]]], [[[3.0, 4.0]]])
    >>> float(metric.result())
    5.0
    """

    _direction = "down"  # read by callbacks with `mode="auto"`

    def __init__(self, landmark=None, name=None, dtype=None):
        super().__init__("point_error", landmark, name, dtype)

    def values(self, y_true, y_pred):
        return _formulas.distances(ops, y_true, y_pred)
