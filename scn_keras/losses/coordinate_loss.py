import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class CoordinateLoss(keras.losses.Loss):
    """The distance between a heatmap's mean position and its landmark, in pixels.

    Heatmaps divided by `temperature` are the logits of one distribution over the pixels
    (soft-argmax). Its mean is compared with the point of the landmark, without
    rendering a target. Its variance along each axis is compared with that of a Gaussian
    of `sigma`:

    `|mean - point| + variance_weight * 8 / n ** 3 * sum((variance - sigma ** 2) ** 2)`

    On a square image with sides of n pixels this is n / 2 times the loss of the
    reference, whose unit is half the image. On other images, n is the longest side.
    Decode the heatmaps with `HeatmapPeak("soft_argmax")`, which corresponds to this
    loss. The loss of a landmark outside the grid cannot become zero, because the mean
    always lies inside the grid.

    Reference: Nibali, He, Morgan, Prendergast: Numerical Coordinate Regression with
    Convolutional Neural Networks (DSNT), 2018.

    Args:
        sigma: Float, the target standard deviation of heatmaps in pixels.
        variance_weight: Float, the reference's lambda.
        temperature: Float, positive, the divisor of heatmaps before the softmax.
        name: Str, the name of the loss.
        reduction: Str, as in Keras. The default divides by the sum of the weights.

    Call arguments:
        y_true: Points `(batch, landmarks, D)`, columns x, y(, z). NaN rows contribute
            neither to the loss nor to its gradient.
        y_pred: Heatmaps `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If an argument is out of its range, or the number of coordinates of
            the points is not the number of spatial axes of the heatmaps.

    Example:

    >>> loss = scn_keras.losses.CoordinateLoss(variance_weight=0.0)
    >>> heatmaps = np.full((1, 9, 9, 1), -1e9)
    >>> heatmaps[0, 4, 2] = 0.0  # all probability is at (2, 4)
    >>> float(loss(np.array([[[5.0, 8.0]]]), heatmaps))
    5.0
    """

    # `LandmarkModel` passes points to this loss and does not render targets.
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
                f"Heatmaps with {rank} spatial axes require points of shape (batch, "
                f"landmarks, {rank}). Received: y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        points = ops.cast(y_true, "float32")
        present = ops.logical_not(ops.any(ops.isnan(points), axis=-1))
        points = ops.where(present[..., None], points, ops.zeros_like(points))
        logits = ops.cast(y_pred, "float32") / self.temperature
        pixels = tuple(range(1, rank + 1))
        density = ops.exp(logits - ops.logsumexp(logits, axis=pixels, keepdims=True))
        squared, variance_error = 0.0, 0.0
        for axis in pixels:
            profile = ops.sum(density, axis=tuple(a for a in pixels if a != axis))
            index = ops.cast(ops.arange(ops.shape(logits)[axis]), "float32")
            index = index[None, :, None]
            mean = ops.sum(index * profile, axis=1)
            variance = ops.sum(ops.square(index - mean[:, None]) * profile, axis=1)
            # Array axes are ordered (z,) y, x, coordinates x, y(, z).
            squared += ops.square(mean - points[..., rank - axis])
            variance_error += ops.square(variance - self.sigma**2)
        # The square root has no gradient at 0.
        positive = squared > 0.0
        distance = ops.where(positive, ops.sqrt(ops.where(positive, squared, 1.0)), 0.0)
        longest = ops.cast(ops.max(ops.shape(logits)[1:-1]), "float32")
        value = distance + self.variance_weight * 8.0 / longest**3 * variance_error
        return ops.where(present, value, 0.0)

    def get_config(self):
        return {
            **super().get_config(),
            "sigma": self.sigma,
            "variance_weight": self.variance_weight,
            "temperature": self.temperature,
        }
