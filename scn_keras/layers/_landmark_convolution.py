import math

import keras
from keras import ops

from scn_keras.layers._spatial import he_normal

# Those of PyTorch's defaults, which the published networks were trained with.
MOMENTUM, EPSILON = 0.9, 1e-5


class LandmarkConvolution(keras.layers.Layer):
    """A convolution, with normalisation and ReLU, for each landmark one of its own.

    All in a few products of matrices. Grouped convolutions do the same; on a CPU, Keras
    has TensorFlow compile these by XLA, whose gradient takes seconds, and TensorFlow
    itself has none for volumes.

    Args:
        num_landmarks: Int.
        filters: Int.
        kernel_size: Int, odd.
        normalize: Bool, whether batch normalisation takes the place of a bias.
        activation: Bool, whether ReLU follows.
        bias_initializer: As in Keras.

    Input shape:
        `(landmarks, batch, *spatial, channels)`; zeros lie outside.
    """

    def __init__(
        self,
        num_landmarks,
        filters,
        kernel_size=1,
        normalize=False,
        activation=True,
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_landmarks = num_landmarks
        self.filters = filters
        self.kernel_size = kernel_size
        self.normalize = normalize
        self.activation = activation
        self.bias_initializer = bias_initializer

    def build(self, input_shape):
        rank, channels = len(input_shape) - 3, input_shape[-1]
        taps = (self.kernel_size,) * rank
        self.kernel = self.add_weight(
            shape=(self.num_landmarks, *taps, channels, self.filters),
            initializer=_for_each_landmark,
            name="kernel",
        )

        def add(name, initializer, trainable=True):
            return self.add_weight(
                shape=(self.num_landmarks, self.filters),
                initializer=initializer,
                trainable=trainable,
                autocast=False,  # normalisation is in float32, as in Keras
                name=name,
            )

        if not self.normalize:
            self.bias = add("bias", self.bias_initializer)
        else:
            self.gamma, self.beta = add("gamma", "ones"), add("beta", "zeros")
            self.moving_mean = add("moving_mean", "zeros", trainable=False)
            self.moving_variance = add("moving_variance", "ones", trainable=False)
        self.built = True

    def call(self, inputs, training=False):
        rank = len(inputs.shape) - 3
        x = self._convolve(inputs, rank)
        if self.normalize:
            x = self._normalized(x, rank, training)
        else:
            x = x + _by_channel(ops.cast(self.bias, x.dtype), rank)
        return ops.relu(x) if self.activation else x

    def _convolve(self, x, rank):
        shape, reach = ops.shape(x), self.kernel_size // 2
        kernel = ops.cast(self.kernel, x.dtype)
        if self.kernel_size > 1:
            x = ops.pad(x, [(0, 0), (0, 0), *[(reach, reach)] * rank, (0, 0)])
        # Along the last axis all taps at once, as channels: products of small matrices
        # are slow, and all taps of a volume would be 27 times as much memory.
        taps = [
            _part(x, 1 + rank, tap, shape[1 + rank]) for tap in range(self.kernel_size)
        ]
        x = ops.concatenate(taps, axis=-1)
        total = self._sum_of_taps(x, kernel, shape[2 : 1 + rank])
        return ops.reshape(total, (*shape[:-1], self.filters))

    def _sum_of_taps(self, x, kernel, sizes):
        """Sums over the taps of all axes but the last, one axis after the other."""
        if not sizes:
            columns = x.shape[-1]
            weight = (self.num_landmarks, columns, self.filters)
            x = ops.reshape(x, (self.num_landmarks, -1, columns))
            return ops.matmul(x, ops.reshape(kernel, weight))
        axis = len(x.shape) - 2 - len(sizes)
        return sum(
            self._sum_of_taps(_part(x, axis, tap, sizes[0]), kernel[:, tap], sizes[1:])
            for tap in range(self.kernel_size)
        )

    def _normalized(self, x, rank, training):
        dtype, x = x.dtype, ops.cast(x, "float32")
        if training and self.trainable:  # as in Keras: what is frozen stays
            mean, variance = ops.moments(x, axes=tuple(range(1, rank + 2)))
            for moving, value in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                moving.assign(MOMENTUM * moving + (1.0 - MOMENTUM) * value)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + EPSILON)
        shift = self.beta - mean * scale
        x = x * _by_channel(scale, rank) + _by_channel(shift, rank)
        return ops.cast(x, dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


def _part(x, axis, start, length):
    """`length` entries along an axis."""
    # Of three axes, and not by square brackets: on TensorFlow the gradient of these is
    # twenty times as slow as a convolution.
    shape = list(ops.shape(x))
    inner = math.prod(shape[axis + 1 :])
    flat = ops.reshape(x, (-1, shape[axis], inner))
    flat = ops.slice(flat, (0, start, 0), (ops.shape(flat)[0], length, inner))
    shape[axis] = length
    return ops.reshape(flat, shape)


def _by_channel(values, rank):
    """Brings `(landmarks, channels)` to the rank of features."""
    return ops.reshape(values, (values.shape[0], *[1] * (rank + 1), values.shape[1]))


def _for_each_landmark(shape, dtype=None):
    """Initialises the kernel of each landmark as if it were the only one."""
    # One draw of all: with the landmarks as further filters the fan-in is the same.
    landmarks, *rest, filters = shape
    drawn = he_normal()((*rest, landmarks * filters), dtype=dtype)
    drawn = ops.reshape(drawn, (*rest, landmarks, filters))
    return ops.moveaxis(drawn, -2, 0)
