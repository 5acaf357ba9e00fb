import keras
from keras import ops

from scn_keras.layers._spatial import (
    PADDINGS,
    POOLINGS,
    check_channels_known,
    check_choice,
    check_divisible,
    check_positive_integers,
    pooling,
    spatial_rank,
)
from scn_keras.layers.convolution_block import ConvolutionBlock
from scn_keras.layers.upsample import Upsample


@keras.saving.register_keras_serializable(package="scn_keras")
class UNet(keras.layers.Layer):
    """A U-Net that computes features of an image, without a head.

    Each level has one block of convolutions in the contracting path and one in the
    expanding path. The deepest level also has both, one after the other. All levels
    have the same number of filters. The upsampled features of the level below are
    concatenated with the features of the contracting path. The defaults are the U-Net
    with which the papers on SpatialConfiguration-Net compare.

    Reference: Ronneberger et al., MICCAI 2015, in the forms of Payer et al., Medical
    Image Analysis 54, 2019, and of their networks for whole hearts and vertebrae.

    Args:
        filters: Int, the number of filters of every convolution on every level.
        levels: Int, the number of resolutions. Spatial sizes must be multiples of
            `2 ** (levels - 1)`.
        convolutions: Int, the number of convolutions of a block.
        kernel_size: Int, the size of every kernel.
        negative_slope: Float, the negative slope of the LeakyReLU; 0 for ReLU.
        pooling: `"max"` or `"average"`, the kind of pooling.
        upsampling: `"nearest"` or `"linear"`, see `Upsample`.
        border: The border of the upsampling, see `Upsample`.
        padding: `"zero"` or `"reflect"`, the padding of the convolutions.
        dropout: Float, the dropout rate between the convolutions of a block.
        dropout_last: Bool, whether dropout also follows the last convolution of a
            block.

    Input shape:
        `(batch, *spatial, channels)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *spatial, filters)`.

    Raises:
        ValueError: If an argument is out of its range, or a spatial size is not a
            multiple of `2 ** (levels - 1)`.

    Example:

    >>> layer = scn_keras.layers.UNet(8, levels=3)
    >>> layer(np.zeros((1, 32, 24, 1), "float32")).shape[1:] == (32, 24, 8)
    True
    """

    def __init__(
        self,
        filters=128,
        levels=4,
        convolutions=2,
        kernel_size=3,
        negative_slope=0.0,
        pooling="max",
        upsampling="nearest",
        border="zero",
        padding="zero",
        dropout=0.0,
        dropout_last=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integers(
            filters=filters,
            levels=levels,
            convolutions=convolutions,
            kernel_size=kernel_size,
        )
        check_choice(POOLINGS, pooling=pooling)
        check_choice(("nearest", "linear"), upsampling=upsampling)
        check_choice(PADDINGS, padding=padding)
        self.filters = filters
        self.levels = levels
        self.convolutions = convolutions
        self.kernel_size = kernel_size
        self.negative_slope = negative_slope
        self.pooling = pooling
        self.upsampling = upsampling
        self.border = border
        self.padding = padding
        self.dropout = dropout
        self.dropout_last = dropout_last

    def build(self, input_shape):
        rank = spatial_rank(self, input_shape)
        check_channels_known(self, input_shape)
        self._check_divisible(input_shape)

        def block(name):
            return ConvolutionBlock(
                self.filters,
                self.convolutions,
                self.kernel_size,
                self.negative_slope,
                self.padding,
                self.dropout,
                self.dropout_last,
                dtype=self.dtype_policy,
                name=name,
            )

        levels = range(self.levels)
        self.contracting = [block(f"contracting_{level}") for level in levels]
        self.expanding = [block(f"expanding_{level}") for level in levels]
        self.pool = pooling(rank, 2, self.pooling, dtype=self.dtype_policy, name="pool")
        self.up = Upsample(
            2, self.upsampling, self.border, dtype=self.dtype_policy, name="up"
        )
        unknown = [None] * (rank + 1)
        features = (*unknown, self.filters)
        for level in levels:
            self.contracting[level].build(
                features if level else (*unknown, input_shape[-1])
            )
            deepest = level == self.levels - 1
            self.expanding[level].build(
                features if deepest else (*unknown, 2 * self.filters)
            )
        self.pool.build(features)
        self.up.build(features)
        self.built = True

    def call(self, inputs, training=None):
        self._check_divisible(inputs.shape)
        x = inputs
        skips = []
        for level, block in enumerate(self.contracting):
            x = block(self.pool(x) if level else x, training=training)
            skips.append(x)
        x = self.expanding[-1](skips.pop(), training=training)
        for block in reversed(self.expanding[:-1]):
            x = ops.concatenate([skips.pop(), self.up(x)], axis=-1)
            x = block(x, training=training)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "levels": self.levels,
            "convolutions": self.convolutions,
            "kernel_size": self.kernel_size,
            "negative_slope": self.negative_slope,
            "pooling": self.pooling,
            "upsampling": self.upsampling,
            "border": self.border,
            "padding": self.padding,
            "dropout": self.dropout,
            "dropout_last": self.dropout_last,
        }

    def _check_divisible(self, shape):
        check_divisible(self, shape, 2 ** (self.levels - 1), f"{self.levels} levels")
