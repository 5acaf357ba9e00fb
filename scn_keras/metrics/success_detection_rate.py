import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints


@keras.saving.register_keras_serializable(package="scn_keras")
class SuccessDetectionRate(MeanOverPoints):
    """The fraction of landmarks with an error below `radius`, from 0 to 1.

    The unit is that of the points; `LandmarkModel` passes millimetres. The bound is
    strict, as in the reference, unless `inclusive` is true. Landmarks missing (NaN) in
    the annotation or the prediction do not count.

    Reference: one minus the outlier rate of Payer et al., Medical Image Analysis
    54, 2019, section 4.3; the SDR of the ISBI 2015 cephalogram challenge.

    Args:
        radius: Float, positive, in the unit of the points.
        inclusive: Bool, whether an error of exactly `radius` counts as success.
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for a name with the radius, such as `sdr_2` or `sdr_2_5`,
            and the landmark.
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

    _direction = "up"  # read by callbacks with `mode="auto"`

    def __init__(
        self, radius=2.0, inclusive=False, landmark=None, name=None, dtype=None
    ):
        if not radius > 0:
            raise ValueError(f"`radius` must be positive. Received: radius={radius}")
        default_name = f"sdr_{radius:g}".replace(".", "_")
        super().__init__(default_name, landmark, name, dtype)
        self.radius = float(radius)
        self.inclusive = inclusive

    def values(self, y_true, y_pred):
        distance = _formulas.distances(ops, y_true, y_pred)
        return _formulas.within(ops, distance, self.radius, self.inclusive)

    def get_config(self):
        return {
            **super().get_config(),
            "radius": self.radius,
            "inclusive": self.inclusive,
        }
