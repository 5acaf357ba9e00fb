import keras
from keras import ops


@keras.saving.register_keras_serializable(package="scn_keras")
class PatchLoss(keras.losses.Loss):
    """The error of the votes of patches: displacement error and cross-entropy.

    The loss is `mean(abs(log displacement - target)) + classification_weight * binary
    cross-entropy`. Both terms are means over all patches, the first one also over the D
    coordinates. A displacement with a NaN target (a missing landmark) contributes
    neither to the loss nor to its gradient.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020. Their
    weights: 20 for cephalograms, 8 for hearts in CT, 2 for olfactory bulbs in MR, and 1
    for all local networks.

    Args:
        classification_weight: Float, the reference's alpha.
        name: Str, the name of the loss.
        reduction: Str, as in Keras. The default divides by the sum of the weights.

    Call arguments:
        y_true: `(batch, *patches, landmarks, 1 + D)`, the output of `PatchTarget`.
        y_pred: Votes of the same shape, see `PatchVote`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If the weight is negative.

    Example:

    >>> loss = scn_keras.losses.PatchLoss(classification_weight=2.0)
    >>> true = np.zeros((1, 4, 4, 1, 3))
    >>> predicted = true + [0.0, 0.5, 1.5]
    >>> round(float(loss(true, predicted)), 4)  # 1 + 2 log 2
    2.3863
    """

    # `LandmarkModel` accepts only losses with this attribute for votes.
    on_votes = True

    def __init__(
        self,
        classification_weight=1.0,
        name="patch_loss",
        reduction="mean_with_sample_weight",
        **kwargs,
    ):
        if not classification_weight >= 0:
            raise ValueError(
                "`classification_weight` must not be negative. Received: "
                f"classification_weight={classification_weight}"
            )
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.classification_weight = classification_weight

    def call(self, y_true, y_pred):
        y_true, y_pred = (ops.cast(y, "float32") for y in (y_true, y_pred))
        patches = tuple(range(1, len(y_pred.shape) - 2))
        truth, logit = y_true[..., 0], y_pred[..., 0]
        crossentropy = ops.softplus(logit) - truth * logit
        known = ops.logical_not(ops.isnan(y_true[..., 1:]))
        # NaN is replaced before the difference, because its gradient is NaN even where
        # the result is masked.
        target = ops.where(known, y_true[..., 1:], 0.0)
        error = ops.where(known, ops.abs(y_pred[..., 1:] - target), 0.0)
        return ops.mean(
            ops.mean(error, axis=-1) + self.classification_weight * crossentropy,
            axis=patches,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "classification_weight": self.classification_weight,
        }
