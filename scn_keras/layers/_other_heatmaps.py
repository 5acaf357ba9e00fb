import keras
from keras import ops

from scn_keras.layers._spatial import spatial_rank


class OtherHeatmaps(keras.layers.Layer):
    """Convolves, for each heatmap, all the others to one.

    One convolution, whose kernel is zero where a heatmap meets itself: its weights
    have no place for that, so they are as many as those of as many small ones.
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
        # Read row after row, a square matrix is its first diagonal element, then
        # again and again as many others as it has rows, then one of the diagonal.
        *size, others, landmarks = self.kernel.shape
        lead = [(0, 0)] * len(size)
        kernel = ops.pad(self.kernel, [*lead, (0, 0), (0, 1)])
        kernel = ops.reshape(kernel, (*size, others * (landmarks + 1)))
        kernel = ops.pad(kernel, [*lead, (1, 0)])
        return ops.reshape(kernel, (*size, landmarks, landmarks))
