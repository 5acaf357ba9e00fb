import keras

from scn_keras.layers._spatial import (
    PADDINGS,
    check_channels_known,
    check_choice,
    check_positive_integers,
    convolve,
    feature_convolution,
    spatial_rank,
)


@keras.saving.register_keras_serializable(package="scn_keras")
class ConvolutionBlock(keras.layers.Layer):
    """A sequence of convolutions with dropout between them.

    This is the building block of the published networks: He initialisation, ReLU or
    LeakyReLU, and no normalisation.

    Args:
        filters: Int, the number of filters of every convolution.
        convolutions: Int, the number of convolutions.
        kernel_size: Int, the size of every kernel.
        negative_slope: Float, the negative slope of the LeakyReLU; 0 for ReLU.
        padding: `"zero"` or `"reflect"`, the padding of every convolution.
        dropout: Float, the dropout rate between the convolutions.
        dropout_last: Bool, whether dropout also follows the last convolution.

    Input shape:
        `(batch, *spatial, channels)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *spatial, filters)`.

    Raises:
        ValueError: If an argument is out of its range, or a size is too small for
            reflection padding.

    Example:

    >>> layer = scn_keras.layers.ConvolutionBlock(8, kernel_size=5)
    >>> layer(np.zeros((1, 16, 12, 1), "float32")).shape[1:] == (16, 12, 8)
    True
    """

    def __init__(
        self,
        filters,
        convolutions=2,
        kernel_size=3,
        negative_slope=0.0,
        padding="zero",
        dropout=0.0,
        dropout_last=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integers(
            filters=filters, convolutions=convolutions, kernel_size=kernel_size
        )
        check_choice(PADDINGS, padding=padding)
        self.filters = filters
        self.convolutions = convolutions
        self.kernel_size = kernel_size
        self.negative_slope = negative_slope
        self.padding = padding
        self.dropout = dropout
        self.dropout_last = dropout_last

    def build(self, input_shape):
        rank = spatial_rank(self, input_shape)
        check_channels_known(self, input_shape)
        self.hidden = [
            feature_convolution(
                rank,
                self.filters,
                self.kernel_size,
                self.padding,
                self.negative_slope,
                self.dtype_policy,
                f"convolution_{i}",
            )
            for i in range(self.convolutions)
        ]
        dropouts = self.convolutions - (not self.dropout_last) if self.dropout else 0
        self.drop = [
            keras.layers.Dropout(
                self.dropout, dtype=self.dtype_policy, name=f"dropout_{i}"
            )
            for i in range(dropouts)
        ]
        features = (*([None] * (rank + 1)), self.filters)
        for i, layer in enumerate((*self.hidden, *self.drop)):
            layer.build(features if i else (*features[:-1], input_shape[-1]))
        self.built = True

    def call(self, inputs, training=None):
        x = inputs
        for i, layer in enumerate(self.hidden):
            x = convolve(layer, x)
            if i < len(self.drop):
                x = self.drop[i](x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "convolutions": self.convolutions,
            "kernel_size": self.kernel_size,
            "negative_slope": self.negative_slope,
            "padding": self.padding,
            "dropout": self.dropout,
            "dropout_last": self.dropout_last,
        }
