import math

import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import PointMetric


@keras.saving.register_keras_serializable(package="scn_keras")
class PointErrorPercentile(PointMetric):
    """A percentile of the distances between points; the median by default.

    The smallest distance that `percentile` percent of the points do not exceed is
    computed from a histogram with `bins` equal intervals from 0 to `limit`. Its error
    is at most `limit / bins`. If it is larger than `limit`, the result is `limit`.
    `on_arrays.point_error_percentile` is exact. Landmarks missing (NaN) in the
    annotation or the prediction do not count.

    Args:
        percentile: Float, above 0, up to 100.
        limit: Float, positive, the upper end of the histogram, in the unit of the
            points.
        bins: Int, the number of intervals.
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for `point_error_p50` and the landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> metric = scn_keras.metrics.PointErrorPercentile(limit=10.0, bins=1000)
    >>> predicted = [[[0.0, 1.0], [0.0, 2.0], [0.0, 9.0]]]
    >>> metric.update_state(np.zeros((1, 3, 2)), predicted)
    >>> abs(float(metric.result()) - 2.0) <= 0.0101
    True
    """

    _direction = "down"  # read by callbacks with `mode="auto"`

    def __init__(
        self,
        percentile=50.0,
        limit=50.0,
        bins=5000,
        landmark=None,
        name=None,
        dtype=None,
    ):
        if not (0 < percentile <= 100 and limit > 0 and bins >= 1):
            raise ValueError(
                "`percentile` must be above 0 and up to 100, `limit` positive and "
                f"`bins` at least 1. Received: percentile={percentile}, limit={limit}, "
                f"bins={bins}"
            )
        default_name = f"point_error_p{percentile:g}".replace(".", "_")
        super().__init__(default_name, landmark, name, dtype)
        self.percentile = float(percentile)
        self.limit = float(limit)
        self.bins = bins
        # The last bin is for distances beyond the limit.
        self.histogram = self.add_variable(
            shape=(bins + 1,), initializer="zeros", name="histogram"
        )

    def values(self, y_true, y_pred):
        return _formulas.distances(ops, y_true, y_pred)

    def update(self, values, weight):
        index = ops.floor(values * (self.bins / self.limit))
        index = ops.cast(ops.minimum(index, float(self.bins)), "int32")
        self.histogram.assign_add(
            ops.segment_sum(
                ops.reshape(weight, (-1,)),
                ops.reshape(index, (-1,)),
                num_segments=self.bins + 1,
            )
        )

    def result(self):
        histogram = ops.convert_to_tensor(self.histogram)
        cumulative = ops.cumsum(histogram)
        rank = cumulative[-1] * (self.percentile / 100.0)
        index = ops.sum(ops.cast(cumulative < rank, "int32"))
        count = ops.take(histogram, index)
        share = ops.divide_no_nan(rank - (ops.take(cumulative, index) - count), count)
        width = self.limit / self.bins
        value = ops.minimum((ops.cast(index, "float32") + share) * width, self.limit)
        return ops.where(cumulative[-1] > 0.0, value, math.nan)

    def get_config(self):
        return {
            **super().get_config(),
            "percentile": self.percentile,
            "limit": self.limit,
            "bins": self.bins,
        }
