import keras
from keras import ops

from scn_keras.layers.pyramid_refinement import cell_offsets

# The standard deviation of the target around the true point, in pixels.
_SIGMA = 3.0
# Keeps the gradient of a distance of 0 finite, in px².
_EPSILON = 1e-2


class GlimpseLoss(keras.losses.Loss):
    """The error of the heatmaps of `PyramidRefinement`.

    It is the distance in pixels from the mean of the heatmap to the true point, plus
    the cross-entropy of the heatmap and a Gaussian around it. A true point outside the
    glimpse is replaced by the nearest point of its outermost cells, so that further
    looks approach it.

    Call arguments:
        y_true: `(batch, landmarks, D)`, the true point relative to the centre of the
            glimpse, x, y(, z) in pixels.
        y_pred: `(batch, *cells, landmarks)`, logits.
    """

    def __init__(self, **kwargs):
        super().__init__(
            name="glimpse_loss", reduction="mean_with_sample_weight", **kwargs
        )

    def call(self, y_true, y_pred):
        offsets = cell_offsets(y_pred.shape[1:-1])
        last = offsets[-1]
        truth = ops.clip(ops.cast(y_true, "float32"), -last, last)
        flat = ops.reshape(y_pred, (-1, offsets.shape[0], y_pred.shape[-1]))
        log_probability = ops.log_softmax(ops.cast(flat, "float32"), axis=1)
        mean = ops.einsum("bcn,cd->bnd", ops.exp(log_probability), offsets)
        squared = ops.sum(ops.square(mean - truth), axis=-1)
        distance = ops.sqrt(squared + _EPSILON)
        squares = ops.square(offsets[:, None] - truth[:, None])
        target = ops.softmax(-0.5 * ops.sum(squares, axis=-1) / _SIGMA**2, axis=1)
        return distance - ops.sum(target * log_probability, axis=1)
