import keras

from scn_keras.layers._spatial import (
    average_pooling,
    check_channels_known,
    check_divisible,
    check_positive_integers,
    convolution,
    he_normal,
    spatial_rank,
)
from scn_keras.layers.upsample import Upsample


@keras.saving.register_keras_serializable(package="scn_keras")
class SpatialConfiguration(keras.layers.Layer):
    """Turns heatmaps into spatial configuration heatmaps: unambiguous, but coarse.

    It sees nothing but where the other heatmaps respond: they are pooled by
    `factor`, large kernels relate the landmarks to each other across the image, a
    tanh bounds the result, and a cubic filter brings it back to full resolution.
    Multiply its output with its input (`HeatmapProduct`) to keep the responses
    that lie where the others say they should. Works on the heatmaps of any
    network.

    Reference: the spatial configuration component of Payer et al., Medical Image
    Analysis 54, 2019, section 3.2.

    Args:
        num_landmarks: Int or `None`, the number of output heatmaps; `None` for as
            many as come in.
        filters: Int, the filters of every convolution but the last.
        kernel_size: Int, the size of every kernel, in cells of `factor` pixels.
        factor: Int, by how much the heatmaps are pooled; sizes must be multiples.
        convolutions: Int, the number of convolutions before the last.
        negative_slope: Float, of the LeakyReLU.
        heatmap_initializer: Float, the standard deviation of the truncated normal
            distribution from which the last kernel starts.
        border: The border of the upsampling, see `Upsample`.

    Input shape:
        `(batch, *spatial, landmarks)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *spatial, num_landmarks)`, float32, from -1 to 1 but for the
        overshoot of the cubic filter.

    Raises:
        ValueError: If an argument is out of its range, or a spatial size is not a
            multiple of `factor`.

    Example:

    >>> layer = scn_keras.layers.SpatialConfiguration(filters=8, factor=4)
    >>> layer(np.zeros((1, 32, 24, 5), "float32")).shape[1:] == (32, 24, 5)
    True
    """

    def __init__(
        self,
        num_landmarks=None,
        filters=128,
        kernel_size=11,
        factor=16,
        convolutions=3,
        negative_slope=0.1,
        heatmap_initializer=1e-4,
        border="zero",
        **kwargs,
    ):
        # Incoming heatmaps stay float32 until they are pooled.
        super().__init__(autocast=False, **kwargs)
        check_positive_integers(filters=filters, kernel_size=kernel_size, factor=factor)
        self.num_landmarks = num_landmarks
        self.filters = filters
        self.kernel_size = kernel_size
        self.factor = factor
        self.convolutions = convolutions
        self.negative_slope = negative_slope
        self.heatmap_initializer = heatmap_initializer
        self.border = border

    def build(self, input_shape):
        rank = spatial_rank(self, input_shape)
        check_channels_known(self, input_shape)
        check_divisible(self, input_shape, self.factor, "the pooling factor")
        self.pool = average_pooling(rank, self.factor, dtype="float32", name="pool")
        self.hidden = [
            convolution(
                rank,
                self.filters,
                self.kernel_size,
                activation=keras.layers.LeakyReLU(self.negative_slope),
                kernel_initializer=he_normal(),
                dtype=self.dtype_policy,
                name=f"convolution_{i}",
            )
            for i in range(self.convolutions)
        ]
        self.head = convolution(
            rank,
            self.num_landmarks or input_shape[-1],
            self.kernel_size,
            activation="tanh",
            kernel_initializer=keras.initializers.TruncatedNormal(
                stddev=self.heatmap_initializer
            ),
            dtype="float32",
            name="head",
        )
        self.up = Upsample(
            self.factor, "cubic", border=self.border, dtype="float32", name="up"
        )
        shape = (*([None] * (rank + 1)), input_shape[-1])
        self.pool.build(shape)
        for layer in (*self.hidden, self.head):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.up.build(shape)
        self.built = True

    def call(self, inputs):
        check_divisible(self, inputs.shape, self.factor, "the pooling factor")
        x = self.pool(inputs)
        for layer in self.hidden:
            x = layer(x)
        return self.up(self.head(x))

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype="float32"
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_landmarks or input_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.pop("autocast", None)
        return {
            **config,
            "num_landmarks": self.num_landmarks,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "factor": self.factor,
            "convolutions": self.convolutions,
            "negative_slope": self.negative_slope,
            "heatmap_initializer": self.heatmap_initializer,
            "border": self.border,
        }
