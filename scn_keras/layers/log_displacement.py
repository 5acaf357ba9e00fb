import math

import keras
from keras import ops

# A million pixels: what a network that diverges says beyond that would be infinite.
_LARGEST = 6.0


@keras.saving.register_keras_serializable(package="scn_keras")
class LogDisplacement(keras.layers.Layer):
    """The logarithm of displacements, which keeps their sign, or its inverse.

    `sign(d) * log10(abs(d) + 1)` of every number by itself: a pixel more or less counts
    near the landmark and hardly any far from it. The inverse is `sign(x) * (10 **
    abs(x) - 1)`, for `x` from -6 to 6. Another base than 10 would be another weight of
    the loss.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        inverse: Bool, whether logarithms become displacements.

    Example:

    >>> displacements = np.array([-99.0, -9.0, 0.0, 9.0], "float32")
    >>> logarithms = scn_keras.layers.LogDisplacement()(displacements)
    >>> np.round(keras.ops.convert_to_numpy(logarithms), 4).tolist()
    [-2.0, -1.0, 0.0, 1.0]
    >>> back = scn_keras.layers.LogDisplacement(inverse=True)(logarithms)
    >>> np.round(keras.ops.convert_to_numpy(back), 3).tolist()
    [-99.0, -9.0, 0.0, 9.0]
    """

    def __init__(self, inverse=False, **kwargs):
        kwargs.setdefault("dtype", "float32")  # a power of ten multiplies an error
        super().__init__(**kwargs)
        self.inverse = inverse

    def call(self, inputs):
        size = ops.abs(inputs)
        if self.inverse:
            # Not by expm1 and log1p: ONNX has neither. It costs a ten-millionth.
            size = ops.exp(math.log(10.0) * ops.minimum(size, _LARGEST)) - 1.0
        else:
            size = ops.log(size + 1.0) / math.log(10.0)
        return ops.sign(inputs) * size

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "inverse": self.inverse}
