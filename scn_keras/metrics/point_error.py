import keras
from keras import ops

from scn_keras.metrics._distances import point_distances


@keras.saving.register_keras_serializable(package="scn_keras")
class PointError(keras.Metric):
    """The mean distance between predicted and true landmarks.

    In the unit of the points: `LandmarkModel` hands its metrics millimetres.
    Landmarks that are missing (NaN) on either side do not count.

    Reference: the point error PE of Payer et al., Medical Image Analysis 54, 2019,
    section 4.3.

    Args:
        name: Str.
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

    def __init__(self, name="point_error", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        distance, weight = point_distances(
            ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred), sample_weight
        )
        self.total.assign_add(ops.sum(distance * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.total, self.count)
