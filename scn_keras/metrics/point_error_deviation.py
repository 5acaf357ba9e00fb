import math

import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import PointMetric


@keras.saving.register_keras_serializable(package="scn_keras")
class PointErrorDeviation(PointMetric):
    """The standard deviation of the distances whose mean is `PointError`.

    It is the population standard deviation, divided by the number of points, as in the
    reference. Batches are merged by their means and sums of squared deviations, which
    is numerically stable. Landmarks missing (NaN) in the annotation or the prediction
    do not count.

    Reference: see `PointError`.

    Args:
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for `point_error_sd` and the landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Example:

    >>> metric = scn_keras.metrics.PointErrorDeviation()
    >>> metric.update_state([[[0.0, 0.0], [0.0, 0.0]]], [[[3.0, 4.0], [0.0, 9.0]]])
    >>> float(metric.result())
    2.0
    """

    _direction = "down"  # read by callbacks with `mode="auto"`

    def __init__(self, landmark=None, name=None, dtype=None):
        super().__init__("point_error_sd", landmark, name, dtype)
        self.mean = self.add_variable(shape=(), initializer="zeros", name="mean")
        self.squares = self.add_variable(shape=(), initializer="zeros", name="squares")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def values(self, y_true, y_pred):
        return _formulas.distances(ops, y_true, y_pred)

    def update(self, values, weight):
        count = ops.sum(weight)
        mean = ops.divide_no_nan(ops.sum(values * weight), count)
        squares = ops.sum(weight * ops.square(values - mean))
        share = ops.divide_no_nan(count, self.count + count)
        step = mean - self.mean
        self.squares.assign_add(squares + ops.square(step) * self.count * share)
        self.mean.assign_add(step * share)
        self.count.assign_add(count)

    def result(self):
        variance = ops.divide_no_nan(self.squares, self.count)
        return ops.where(self.count > 0.0, ops.sqrt(variance), math.nan)
