import keras
from keras import ops

from scn_keras.layers._spatial import (
    PADDINGS,
    check_channels_known,
    check_choice,
    check_divisible,
    check_positive_integers,
    convolve,
    feature_convolution,
    heatmap_convolution,
    pooling,
    spatial_rank,
)
from scn_keras.layers.upsample import Upsample


@keras.saving.register_keras_serializable(package="scn_keras")
class LocalAppearance(keras.layers.Layer):
    """Computes local appearance heatmaps of an image: accurate, but ambiguous.

    The network resembles a U-Net: each level has two convolutions with dropout between
    them, followed by pooling. Another convolution on every level, including the
    deepest, is added to the upsampled result of the level below. There are no
    normalisation layers; the activation is LeakyReLU and the head is linear in float32.
    The receptive field is too small to distinguish a landmark from others of similar
    appearance. `SpatialConfiguration` resolves this ambiguity.

    Reference: the local appearance component of Payer et al., Medical Image
    Analysis 54, 2019, section 3.1, in the form of its published 2D and 3D networks.

    Args:
        num_landmarks: Int, the number of heatmaps.
        filters: Int, the number of filters of every convolution on every level.
        levels: Int, the number of resolutions. Spatial sizes must be multiples of
            `2 ** (levels - 1)`.
        dropout: Float, the dropout rate between the two convolutions of a level.
        kernel_size: Int, the size of every kernel.
        negative_slope: Float, the negative slope of the LeakyReLU.
        heatmap_initializer: Float, the standard deviation of the truncated normal
            distribution that initialises the head's kernel.
        padding: `"zero"` or `"reflect"`, the padding of all convolutions except the
            first and the head, which are padded with zeros. The published 3D network
            uses `"reflect"`.

    Input shape:
        `(batch, *spatial, channels)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *spatial, num_landmarks)`, float32.

    Raises:
        ValueError: If an argument is out of its range, or a spatial size is not a
            multiple of `2 ** (levels - 1)`.

    Example:

    >>> layer = scn_keras.layers.LocalAppearance(5, filters=8, levels=3)
    >>> layer(np.zeros((1, 32, 24, 1), "float32")).shape[1:] == (32, 24, 5)
    True
    """

    def __init__(
        self,
        num_landmarks,
        filters=128,
        levels=4,
        dropout=0.5,
        kernel_size=3,
        negative_slope=0.1,
        heatmap_initializer=1e-4,
        padding="zero",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive_integers(
            num_landmarks=num_landmarks, filters=filters, levels=levels
        )
        check_choice(PADDINGS, padding=padding)
        self.num_landmarks = num_landmarks
        self.filters = filters
        self.levels = levels
        self.dropout = dropout
        self.kernel_size = kernel_size
        self.negative_slope = negative_slope
        self.heatmap_initializer = heatmap_initializer
        self.padding = padding

    def build(self, input_shape):
        rank = spatial_rank(self, input_shape)
        check_channels_known(self, input_shape)
        check_divisible(
            self, input_shape, 2 ** (self.levels - 1), f"{self.levels} levels"
        )

        def conv(name, padding=self.padding):
            return feature_convolution(
                rank,
                self.filters,
                self.kernel_size,
                padding,
                self.negative_slope,
                self.dtype_policy,
                name,
            )

        self.stem = conv("stem", "zero")
        self.first, self.drop, self.second, self.parallel = [], [], [], []
        for level in range(self.levels):
            self.first.append(conv(f"contracting_{level}_0"))
            self.drop.append(
                keras.layers.Dropout(
                    self.dropout, dtype=self.dtype_policy, name=f"dropout_{level}"
                )
            )
            self.second.append(conv(f"contracting_{level}_1"))
            self.parallel.append(conv(f"parallel_{level}"))
        self.pool = pooling(rank, 2, dtype=self.dtype_policy, name="pool")
        self.up = Upsample(2, "linear", dtype=self.dtype_policy, name="up")
        self.head = heatmap_convolution(
            rank,
            self.num_landmarks,
            self.kernel_size,
            self.heatmap_initializer,
            name="head",
        )
        features = (*([None] * (rank + 1)), self.filters)
        self.stem.build(input_shape)
        for layer in (*self.first, *self.second, *self.parallel, self.head):
            layer.build(features)
        for layer in (*self.drop, self.pool, self.up):
            layer.build(features)
        self.built = True

    def call(self, inputs, training=None):
        check_divisible(
            self, inputs.shape, 2 ** (self.levels - 1), f"{self.levels} levels"
        )
        x = convolve(self.stem, inputs)
        skips = []
        for level in range(self.levels):
            if level:
                x = self.pool(x)
            x = convolve(self.first[level], x)
            x = self.drop[level](x, training=training)
            x = convolve(self.second[level], x)
            skips.append(convolve(self.parallel[level], x))
        x = skips.pop()
        while skips:
            x = ops.add(skips.pop(), self.up(x))
        return self.head(x)

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype="float32"
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_landmarks)

    def get_config(self):
        return {
            **super().get_config(),
            "num_landmarks": self.num_landmarks,
            "filters": self.filters,
            "levels": self.levels,
            "dropout": self.dropout,
            "kernel_size": self.kernel_size,
            "negative_slope": self.negative_slope,
            "heatmap_initializer": self.heatmap_initializer,
            "padding": self.padding,
        }
