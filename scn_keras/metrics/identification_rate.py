import keras
from keras import ops

from scn_keras.metrics import _formulas
from scn_keras.metrics._point_metric import MeanOverPoints


@keras.saving.register_keras_serializable(package="scn_keras")
class IdentificationRate(MeanOverPoints):
    """The fraction of landmarks that are correctly identified, from 0 to 1.

    This metric is intended for repeated structures such as vertebrae. A landmark is
    identified if it is the true landmark nearest to its predicted point and its
    distance is at most `radius`. A landmark without a predicted point (NaN) is not
    identified. A landmark that is missing in the annotation does not count.

    Reference: the spine experiment of Payer et al., Medical Image Analysis 54, 2019.

    Args:
        radius: Float, positive, in the unit of the points; the reference uses 20 mm.
        landmark: Int, the index of one landmark, or `None` for all.
        name: Str or `None` for `identification_rate` and the landmark.
        dtype: The dtype of the result.

    Call arguments:
        y_true, y_pred: `(batch, landmarks, D)`.
        sample_weight: `(batch,)` or `(batch, landmarks)`.

    Raises:
        ValueError: If the radius is not positive.

    Example:

    The second predicted point is nearer to the first landmark.

    >>> metric = scn_keras.metrics.IdentificationRate()
    >>> metric.update_state([[[0.0, 0.0], [0.0, 9.0]]], [[[0.0, 1.0], [0.0, 4.0]]])
    >>> float(metric.result())
    0.5
    """

    _direction = "up"  # read by callbacks with `mode="auto"`

    def __init__(self, radius=20.0, landmark=None, name=None, dtype=None):
        if not radius > 0:
            raise ValueError(f"`radius` must be positive. Received: radius={radius}")
        super().__init__("identification_rate", landmark, name, dtype)
        self.radius = float(radius)

    def values(self, y_true, y_pred):
        return _formulas.identified(ops, y_true, y_pred, self.radius)

    def get_config(self):
        return {**super().get_config(), "radius": self.radius}
