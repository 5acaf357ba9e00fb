import keras
from keras import ops


class PixelMean(keras.losses.Loss):
    """Base of losses that compare heatmaps with targets pixel by pixel.

    One value a landmark, the mean over its pixels; the mean over landmarks divides
    by the weights, so that what is missing counts in neither.
    """

    def __init__(self, name=None, reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def pixelwise(self, y_true, y_pred):
        raise NotImplementedError

    def call(self, y_true, y_pred):
        # Half precision counts no further than 256 (bfloat16) or 2048.
        y_true, y_pred = (ops.cast(y, "float32") for y in (y_true, y_pred))
        value = self.pixelwise(y_true, y_pred)
        return ops.mean(value, axis=tuple(range(1, len(value.shape) - 1)))

    def penalty_scale(self, heatmaps):
        """Returns the factor that brings penalties of the sum form to this mean."""
        count = ops.cast(ops.prod(ops.shape(heatmaps)[1:]), "float32")
        return 2.0 / count
