import keras
from keras import ops

from scn_keras.losses._pixel_mean import PixelMean, in_float32, pixel_mean

_FORMS = {
    # form: reduction
    "mean": "mean_with_sample_weight",
    "sum": "sum_over_batch_size",
}


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapSquaredError(PixelMean):
    """The squared difference between heatmaps and their targets.

    The loss has two forms, for N landmarks and P pixels:

    - `"sum"`, the form of the reference: half the sum over landmarks and pixels, and
      the mean over images. Its values are in the thousands and suitable learning rates
      are near 1e-6.
    - `"mean"`: the mean over landmarks and pixels, with values that are easier to
      interpret.

    If no landmark is missing, `mean = sum * 2 / (N * P)`. `LandmarkModel` scales its
    penalties on sigma and weights by the same factor (`penalty_scale`), so that the
    balance of the three terms does not depend on the form. Heatmaps of missing
    landmarks contribute neither to the loss nor to its gradient; the mean is over the
    landmarks that are present.

    Reference: Payer et al., Medical Image Analysis 54, 2019, equation 4.

    Args:
        form: `"mean"` or `"sum"`.
        name: Str, the name of the loss.

    Call arguments:
        y_true, y_pred: `(batch, *spatial, landmarks)`.
        sample_weight: `(batch, landmarks)`, 0 for a missing landmark.

    Raises:
        ValueError: If `form` is unknown.

    Example:

    >>> loss = scn_keras.losses.HeatmapSquaredError("mean")
    >>> ones = np.ones((1, 4, 4, 2), "float32")
    >>> float(loss(ones, 3.0 * ones))
    4.0
    >>> float(scn_keras.losses.HeatmapSquaredError("sum")(ones, 3.0 * ones))
    64.0
    """

    def __init__(self, form="mean", name="heatmap_squared_error", **kwargs):
        if form not in _FORMS:
            raise ValueError(
                f"`form` must be one of {sorted(_FORMS)}. Received: form={form!r}"
            )
        kwargs["reduction"] = _FORMS[form]  # also overrides that of `from_config`
        super().__init__(name=name, **kwargs)
        self.form = form

    def call(self, y_true, y_pred):
        y_true, y_pred = in_float32(y_true, y_pred)
        mean = pixel_mean(ops.square(y_pred - y_true))
        if self.form == "mean":
            return mean
        # The reduction divides by images times landmarks, the reference by images only.
        return mean / super().penalty_scale(y_pred)

    def penalty_scale(self, heatmaps):
        """Returns the factor that scales a term of the sum form to this form."""
        return 1.0 if self.form == "sum" else super().penalty_scale(heatmaps)

    def get_config(self):
        return {**super().get_config(), "form": self.form}
