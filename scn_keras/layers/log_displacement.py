import math

import keras
from keras import ops

# A million pixels. Larger logarithms, as from a diverged network, could overflow.
_MAX_LOGARITHM = 6.0


@keras.saving.register_keras_serializable(package="scn_keras")
class LogDisplacement(keras.layers.Layer):
    """Converts displacements to logarithms that keep the sign, or back.

    The logarithm is `sign(d) * log10(abs(d) + 1)`, element by element. A difference of
    one pixel therefore matters near the landmark and hardly far away from it. The
    inverse is `sign(x) * (10 ** abs(x) - 1)`, for `x` from -6 to 6. A base other than
    10 would change the weight of the loss.

    Reference: Noothout et al., IEEE Transactions on Medical Imaging 39(12), 2020.

    Args:
        inverse: Bool, whether to convert logarithms to displacements.

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
        kwargs.setdefault("dtype", "float32")  # the power of ten amplifies errors
        super().__init__(**kwargs)
        self.inverse = inverse

    def call(self, inputs):
        size = ops.abs(inputs)
        if self.inverse:
            # ONNX has neither expm1 nor log1p. The loss of precision is about 1e-7.
            size = ops.exp(math.log(10.0) * ops.minimum(size, _MAX_LOGARITHM)) - 1.0
        else:
            size = ops.log(size + 1.0) / math.log(10.0)
        return ops.sign(inputs) * size

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "inverse": self.inverse}
