import keras
from keras import ops

from scn_keras.layers._spatial import spatial_rank


class OtherHeatmaps(keras.layers.Layer):
    """Computes each output heatmap by a convolution of all other heatmaps.

    All landmarks are computed by one convolution whose kernel is zero where the input
    and the output landmark are the same. The weights do not store these zeros, so that
    their number equals that of separate convolutions.
    """

    def __init__(self, kernel_size, stddev, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.stddev = stddev
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        rank, landmarks = spatial_rank(self, input_shape), input_shape[-1]
        self.kernel = self.add_weight(
            shape=(*[self.kernel_size] * rank, landmarks - 1, landmarks),
            initializer=keras.initializers.TruncatedNormal(stddev=self.stddev),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(landmarks,), initializer="zeros", name="bias"
        )
        self.built = True

    def call(self, inputs):
        y = ops.conv(
            inputs, self._whole_kernel(), padding="same", data_format="channels_last"
        )
        return self.activation(y + self.bias)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def _whole_kernel(self):
        # In row-major order, a square matrix of n rows consists of its first diagonal
        # element and then n - 1 groups of n off-diagonal elements and one diagonal
        # element. The groups are the rows of the stored kernel, padded by a zero.
        *size, others, landmarks = self.kernel.shape
        lead = [(0, 0)] * len(size)
        kernel = ops.pad(self.kernel, [*lead, (0, 0), (0, 1)])
        kernel = ops.reshape(kernel, (*size, others * (landmarks + 1)))
        kernel = ops.pad(kernel, [*lead, (1, 0)])
        return ops.reshape(kernel, (*size, landmarks, landmarks))
