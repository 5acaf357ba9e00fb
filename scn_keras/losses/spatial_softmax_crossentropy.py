import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class SpatialSoftmaxCrossentropy(keras.losses.Loss):
    """The cross-entropy between targets and the softmax over all pixels.

    Heatmaps divided by `temperature` are the logits of one distribution over the pixels
    of the image. Each target is scaled to a sum of 1, the true distribution. The loss
    is the cross-entropy of both, whose minimum is the entropy of the target. A target
    with a sum below 1e-6 (of a missing landmark, or of one far outside the grid)
    contributes neither to the loss nor to its gradient.

    Use this loss with targets of fixed sigma. A learned sigma would shrink to its
    minimum, because narrow targets have a lower entropy.

    Args:
        temperature: Float, positive, the divisor of heatmaps before the softmax.
        name: Str, the name of the loss.
        reduction: Str, as in Keras. The default divides by the sum of the weights.

    Call arguments:
        y_true, y_pred: `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If the temperature is not positive.

    Example:

    >>> loss = scn_keras.losses.SpatialSoftmaxCrossentropy()
    >>> value = float(loss(np.ones((1, 4, 4, 2)), np.zeros((1, 4, 4, 2))))
    >>> round(value, 4)  # log 16
    2.7726
    """

    def __init__(
        self,
        temperature=1.0,
        name="spatial_softmax_crossentropy",
        reduction="mean_with_sample_weight",
        **kwargs,
    ):
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be positive. Received: temperature={temperature}"
            )
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        target = ops.cast(y_true, "float32")
        logits = ops.cast(y_pred, "float32") / self.temperature
        pixels = tuple(range(1, len(logits.shape) - 1))
        mass = ops.sum(target, axis=pixels)
        present = mass > 1e-6
        expected = ops.sum(target * logits, axis=pixels)
        expected = expected / ops.where(present, mass, 1.0)
        return ops.where(present, ops.logsumexp(logits, axis=pixels) - expected, 0.0)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
