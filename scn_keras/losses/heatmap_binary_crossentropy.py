import keras
from keras import ops

from scn_keras.losses._pixel_mean import PixelMean, in_float32, pixel_mean


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapBinaryCrossentropy(PixelMean):
    """The binary cross-entropy between heatmaps and targets of height 1.

    Every pixel is a separate binary classification whose true probability is the
    target, from 0 to 1 (`GaussianHeatmap` without `gamma`). The mean is over pixels and
    over the landmarks that are present.

    `HeatmapPeak` and its scores require heatmaps that resemble their targets. Either
    use a network that ends in a sigmoid, with `from_logits=False`, or add a sigmoid
    after training to a network trained on its logits.

    Args:
        from_logits: Bool, whether heatmaps are logits instead of probabilities.
        name: Str, the name of the loss.
        reduction: Str, as in Keras.

    Call arguments:
        y_true, y_pred: `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Example:

    >>> loss = scn_keras.losses.HeatmapBinaryCrossentropy(from_logits=True)
    >>> value = float(loss(np.ones((1, 4, 4, 2)), np.zeros((1, 4, 4, 2))))
    >>> round(value, 4)  # log 2
    0.6931
    """

    unit_height = True

    def __init__(self, from_logits=False, name="heatmap_binary_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        return pixel_mean(self._pixelwise(*in_float32(y_true, y_pred)))

    def _pixelwise(self, y_true, y_pred):
        if self.from_logits:
            return ops.softplus(y_pred) - y_true * y_pred
        epsilon = keras.config.epsilon()
        y_pred = ops.clip(y_pred, epsilon, 1.0 - epsilon)
        return -y_true * ops.log(y_pred) - (1.0 - y_true) * ops.log(1.0 - y_pred)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}
