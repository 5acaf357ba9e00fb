import math

import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import PointMetric


@keras.saving.register_keras_serializable(package="scn_keras")
class PointErrorPercentile(PointMetric):
    """A percentile of the distances between points; the median by default.

    The smallest distance that `percentile` percent of the points do not exceed, read
    from a histogram over `bins` equal intervals from 0 to `limit`: right to `limit /
    bins`, and `limit` where it is farther. `on_arrays.point_error_percentile` is
    exact. Landmarks that are missing (NaN) on either side do not count.

    Args:
        percentile: Float, above 0, up to 100.
        limit: Float, positive, in the unit of the points.
        bins: Int.
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
    >>> found = [[[0.0, 1.0], [0.0, 2.0], [0.0, 9.0]]]
    >>> metric.update_state(np.zeros((1, 3, 2)), found)
    >>> abs(float(metric.result()) - 2.0) <= 0.0101
    True
    """

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
        # One more, for what is farther than the limit.
        self.histogram = self.add_variable(
            shape=(bins + 1,), initializer="zeros", name="histogram"
        )

    def values(self, y_true, y_pred):
        return _formulas.distances(ops, y_true, y_pred)

    def update(self, values, weight):
        place = ops.floor(values * (self.bins / self.limit))
        place = ops.cast(ops.minimum(place, float(self.bins)), "int32")
        self.histogram.assign_add(
            ops.segment_sum(
                ops.reshape(weight, (-1,)),
                ops.reshape(place, (-1,)),
                num_segments=self.bins + 1,
            )
        )

    def result(self):
        histogram = ops.convert_to_tensor(self.histogram)
        up_to = ops.cumsum(histogram)
        wanted = up_to[-1] * (self.percentile / 100.0)
        place = ops.sum(ops.cast(up_to < wanted, "int32"))
        here = ops.take(histogram, place)
        share = ops.divide_no_nan(wanted - (ops.take(up_to, place) - here), here)
        width = self.limit / self.bins
        value = ops.minimum((ops.cast(place, "float32") + share) * width, self.limit)
        return ops.where(up_to[-1] > 0.0, value, math.nan)

    def get_config(self):
        return {
            **super().get_config(),
            "percentile": self.percentile,
            "limit": self.limit,
            "bins": self.bins,
        }
