import keras
from keras import ops


class PixelMean(keras.losses.Loss):
    """Base class of losses that compare heatmaps with targets pixel by pixel.

    The value of a landmark is the mean over the pixels of its heatmap. The mean over
    landmarks is divided by the sum of the weights, so that missing landmarks do not
    count. A subclass implements `call` with `in_float32` and `pixel_mean`.
    """

    def __init__(self, name=None, reduction="mean_with_sample_weight", **kwargs):
        super().__init__(name=name, reduction=reduction, **kwargs)

    def penalty_scale(self, heatmaps):
        """Returns the factor that scales penalties of the sum form to this mean."""
        count = ops.cast(ops.prod(ops.shape(heatmaps)[1:]), "float32")
        return 2.0 / count


def in_float32(*heatmaps):
    """Returns heatmaps in single precision.

    Sums of ones in half precision end at 256 (bfloat16) or 2048 (float16).
    """
    return [ops.cast(array, "float32") for array in heatmaps]


def pixel_mean(values):
    """Returns the mean over the pixels of heatmaps, `(batch, landmarks)`."""
    return ops.mean(values, axis=tuple(range(1, len(values.shape) - 1)))
