import keras
from keras import ops

from scn_keras.metrics._distances import point_distances


@keras.saving.register_keras_serializable(package="scn_keras")
class SuccessDetectionRate(keras.Metric):
    """The share of landmarks found less than `radius` from the truth, from 0 to 1.

    In the unit of the points: `LandmarkModel` hands its metrics millimetres. The
    bound is strict. Landmarks that are missing (NaN) on either side do not count.

    Reference: one minus the outlier rate of Payer et al., Medical Image Analysis
    54, 2019, section 4.3; the SDR of the ISBI 2015 cephalogram challenge.

    Args:
        radius: Float, positive.
        name: Str or `None` for one made from the radius, such as `sdr_2` or
            `sdr_2_5`.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Raises:
        ValueError: If the radius is not positive.

    Example:

    >>> metric = scn_keras.metrics.SuccessDetectionRate(2.0)
    >>> metric.update_state([[[0.0, 0.0], [0.0, 0.0]]], [[[1.0, 0.0], [2.0, 0.0]]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, radius=2.0, name=None, dtype=None):
        if not radius > 0:
            raise ValueError(f"`radius` must be positive. Received: radius={radius}")
        super().__init__(name=name or f"sdr_{radius:g}".replace(".", "_"), dtype=dtype)
        self.radius = float(radius)
        self.hits = self.add_variable(shape=(), initializer="zeros", name="hits")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        distance, weight = point_distances(
            ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred), sample_weight
        )
        hit = ops.cast(distance < self.radius, "float32")
        self.hits.assign_add(ops.sum(hit * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        return ops.divide_no_nan(self.hits, self.count)

    def get_config(self):
        return {**super().get_config(), "radius": self.radius}
