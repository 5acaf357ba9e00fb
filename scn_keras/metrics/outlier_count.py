import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import PointMetric


@keras.saving.register_keras_serializable(package="scn_keras")
class OutlierCount(PointMetric):
    """The number of landmarks whose error is at least `radius`.

    The unit is that of the points; `LandmarkModel` passes millimetres. Landmarks
    missing (NaN) in the annotation or the prediction do not count.

    Reference: Payer et al., Medical Image Analysis 54, 2019, section 4.3.

    Args:
        radius: Float, positive, in the unit of the points.
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for a name with the radius, such as `outliers_10`, and the
            landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Raises:
        ValueError: If the radius is not positive.

    Example:

    >>> metric = scn_keras.metrics.OutlierCount(2.0)
    >>> metric.update_state([[[0.0, 0.0], [0.0, 0.0]]], [[[1.0, 0.0], [2.0, 0.0]]])
    >>> int(metric.result())
    1
    """

    _direction = "down"  # read by callbacks with `mode="auto"`

    def __init__(self, radius=10.0, landmark=None, name=None, dtype=None):
        if not radius > 0:
            raise ValueError(f"`radius` must be positive. Received: radius={radius}")
        default_name = f"outliers_{radius:g}".replace(".", "_")
        super().__init__(default_name, landmark, name, dtype)
        self.radius = float(radius)
        self.outliers = self.add_variable(
            shape=(), initializer="zeros", name="outliers"
        )

    def values(self, y_true, y_pred):
        distance = _formulas.distances(ops, y_true, y_pred)
        return _formulas.outlier(ops, distance, self.radius)

    def update(self, values, weight):
        self.outliers.assign_add(ops.sum(values * weight))

    def result(self):
        return ops.convert_to_tensor(self.outliers)

    def get_config(self):
        return {**super().get_config(), "radius": self.radius}
