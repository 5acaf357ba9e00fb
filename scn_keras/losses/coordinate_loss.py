import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class CoordinateLoss(keras.losses.Loss):
    """The distance of a heatmap's mean position from its landmark, in pixels.

    Heatmaps divided by `temperature` are logits of one distribution over the pixels
    (soft-argmax). Its mean is compared with the landmark itself, no target is
    rendered; its variance along each axis with that of a Gaussian of `sigma`:

    `|mean - point| + variance_weight * 8 / n ** 3 * sum((variance - sigma ** 2) ** 2)`

    On a square image of n pixels a side this is n / 2 times the reference's loss,
    which counts in halves of the image; n is the longest side elsewhere. Decode with
    `HeatmapPeak("soft_argmax")`, what was trained. The loss cannot be met by a
    landmark outside of the grid, which the mean cannot reach.

    Reference: Nibali, He, Morgan, Prendergast: Numerical Coordinate Regression with
    Convolutional Neural Networks (DSNT), 2018.

    Args:
        sigma: Float, in pixels, which the spread of heatmaps is drawn to.
        variance_weight: Float, the reference's lambda.
        temperature: Float, positive.
        name: Str.
        reduction: Str, as in Keras. The default divides by the weights.

    Call arguments:
        y_true: Points `(batch, landmarks, D)`, columns x, y(, z); NaN rows have
            neither value nor gradient.
        y_pred: Heatmaps `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If an argument is out of its range, or the points do not have as
            many coordinates as the heatmaps have axes.

    Example:

    >>> loss = scn_keras.losses.CoordinateLoss(variance_weight=0.0)
    >>> heatmaps = np.full((1, 9, 9, 1), -1e9)
    >>> heatmaps[0, 4, 2] = 0.0  # a distribution all at (2, 4)
    >>> float(loss(np.array([[[5.0, 8.0]]]), heatmaps))
    5.0
    """

    # `LandmarkModel` gives it points and renders nothing.
    on_points = True

    def __init__(
        self,
        sigma=1.0,
        variance_weight=1.0,
        temperature=1.0,
        name="coordinate_loss",
        reduction="mean_with_sample_weight",
        **kwargs,
    ):
        if not (sigma > 0 and temperature > 0 and variance_weight >= 0):
            raise ValueError(
                "`sigma` and `temperature` must be positive and `variance_weight` not "
                f"negative. Received: sigma={sigma}, temperature={temperature}, "
                f"variance_weight={variance_weight}"
            )
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.sigma = sigma
        self.variance_weight = variance_weight
        self.temperature = temperature

    def call(self, y_true, y_pred):
        rank = len(y_pred.shape) - 2
        if len(y_true.shape) != 3 or y_true.shape[-1] != rank:
            raise ValueError(
                f"Heatmaps with {rank} spatial axes need points of shape (batch, "
                f"landmarks, {rank}). Received: y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        points = ops.cast(y_true, "float32")
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        points = ops.where(present[..., None], points, ops.zeros_like(points))
        logits = ops.cast(y_pred, "float32") / self.temperature
        pixels = tuple(range(1, rank + 1))
        share = ops.exp(logits - ops.logsumexp(logits, axis=pixels, keepdims=True))
        squared, spread = 0.0, 0.0
        for axis in pixels:
            profile = ops.sum(share, axis=tuple(a for a in pixels if a != axis))
            index = ops.cast(ops.arange(ops.shape(logits)[axis]), "float32")
            index = index[None, :, None]
            mean = ops.sum(index * profile, axis=1)
            variance = ops.sum(ops.square(index - mean[:, None]) * profile, axis=1)
            # Arrays run (z,) y, x and points run x, y(, z).
            squared += ops.square(mean - points[..., rank - axis])
            spread += ops.square(variance - self.sigma**2)
        # The root has no gradient at 0.
        away = squared > 0.0
        distance = ops.where(away, ops.sqrt(ops.where(away, squared, 1.0)), 0.0)
        longest = ops.cast(ops.max(ops.shape(logits)[1:-1]), "float32")
        value = distance + self.variance_weight * 8.0 / longest**3 * spread
        return ops.where(present, value, 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "sigma": self.sigma,
            "variance_weight": self.variance_weight,
            "temperature": self.temperature,
        }
