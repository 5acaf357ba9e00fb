import keras
from keras import ops


class PixelMean(keras.losses.Loss):
    """Base class of losses that compare heatmaps with targets pixel by pixel.

    The value of a landmark is the mean over the pixels of its heatmap. The mean over
    landmarks is divided by the sum of the weights, so that missing landmarks do not
    count.
    """

    def __init__(self, name=None, reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def pixelwise(self, y_true, y_pred):
        raise NotImplementedError

    def call(self, y_true, y_pred):
        # Sums of ones in half precision end at 256 (bfloat16) or 2048 (float16).
        y_true, y_pred = (ops.cast(y, "float32") for y in (y_true, y_pred))
        value = self.pixelwise(y_true, y_pred)
        return ops.mean(value, axis=tuple(range(1, len(value.shape) - 1)))

    def penalty_scale(self, heatmaps):
        """Returns the factor that scales penalties of the sum form to this mean."""
        count = ops.cast(ops.prod(ops.shape(heatmaps)[1:]), "float32")
        return 2.0 / count
