import math

import keras
from keras import ops

from scn_keras.losses._pixel_mean import PixelMean, in_float32, pixel_mean


@keras.saving.register_keras_serializable(package="scn_keras")
class AdaptiveWing(PixelMean):
    """The adaptive wing loss, which is more sensitive to small errors near landmarks.

    With `d = |y_true - y_pred|`, the loss of a pixel is `omega log(1 + (d / epsilon) **
    (alpha - y_true))` for `d` below `theta`. Above `theta` it continues as a straight
    line. Pixels whose target, or a neighbour's target, is at least 0.2 have a weight of
    `1 + map_weight`, all others of 1. Targets must have height 1 (`GaussianHeatmap`
    without `gamma`). The mean is over pixels and over the landmarks that are present.

    Reference: Wang, Bo, Fuxin: Adaptive Wing Loss for Robust Face Alignment via
    Heatmap Regression. ICCV 2019.

    Args:
        alpha: Float, above 2, which is 1 plus the height of the targets.
        omega: Float, positive, the scale of the loss.
        epsilon: Float, positive, the error by which `d` is divided.
        theta: Float, positive, the error above which the loss is linear.
        map_weight: Float, the additional weight of pixels near landmarks; 0 for none.
        name: Str, the name of the loss.
        reduction: Str, as in Keras.

    Call arguments:
        y_true, y_pred: `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    >>> loss = scn_keras.losses.AdaptiveWing(map_weight=0.0)
    >>> true, predicted = np.zeros((1, 4, 4, 2)), np.full((1, 4, 4, 2), 0.25)
    >>> round(float(loss(true, predicted)), 3)  # 14 log(1 + 0.25 ** 2.1)
    0.742
    """

    unit_height = True

    def __init__(
        self,
        alpha=2.1,
        omega=14.0,
        epsilon=1.0,
        theta=0.5,
        map_weight=10.0,
        name="adaptive_wing",
        **kwargs,
    ):
        if not (alpha > 2 and min(omega, epsilon, theta) > 0 and map_weight >= 0):
            raise ValueError(
                "`alpha` must be above 2, `omega`, `epsilon` and `theta` positive, and "
                f"`map_weight` not negative. Received: alpha={alpha}, omega={omega}, "
                f"epsilon={epsilon}, theta={theta}, map_weight={map_weight}"
            )
        super().__init__(name=name, **kwargs)
        self.alpha = alpha
        self.omega = omega
        self.epsilon = epsilon
        self.theta = theta
        self.map_weight = map_weight

    def call(self, y_true, y_pred):
        return pixel_mean(self._pixelwise(*in_float32(y_true, y_pred)))

    def _pixelwise(self, y_true, y_pred):
        error = ops.abs(y_true - y_pred)
        power = self.alpha - y_true
        # The curve is constant above `theta`, where the line continues it. Both terms
        # and their gradients are finite everywhere.
        near = ops.clip(error / self.epsilon, 1e-12, self.theta / self.epsilon)
        # In TensorFlow, the power of two arrays is several times slower than this.
        curve = self.omega * ops.log1p(ops.exp(power * ops.log(near)))
        end = ops.exp(power * math.log(self.theta / self.epsilon))
        slope = self.omega * power * end / (1.0 + end) / self.theta
        value = curve + slope * ops.relu(error - self.theta)
        if not self.map_weight:
            return value
        dilated = ops.max_pool(
            y_true, 3, strides=1, padding="same", data_format="channels_last"
        )
        near_landmark = ops.cast(dilated >= 0.2, value.dtype)
        return value * (1.0 + self.map_weight * near_landmark)

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "omega": self.omega,
            "epsilon": self.epsilon,
            "theta": self.theta,
            "map_weight": self.map_weight,
        }
