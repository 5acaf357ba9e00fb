import math

import keras
from keras import ops

from scn_keras.layers._spatial import he_normal

# PyTorch's defaults, with which the published networks were trained.
MOMENTUM, EPSILON = 0.9, 1e-5


class LandmarkConvolution(keras.layers.Layer):
    """Applies a separate convolution, with normalisation and ReLU, to each landmark.

    All landmarks are computed in a few matrix products. Grouped convolutions would give
    the same result. On a CPU, however, Keras has TensorFlow compile grouped
    convolutions with XLA, whose gradient takes seconds, and TensorFlow itself has no
    grouped convolution of volumes.

    Args:
        num_landmarks: Int, the number of landmarks.
        filters: Int, the number of filters per landmark.
        kernel_size: Int, odd, the kernel size along each axis.
        normalize: Bool, whether to use batch normalisation instead of a bias.
        activation: Bool, whether to apply ReLU to the result.
        bias_initializer: As in Keras.

    Input shape:
        `(landmarks, batch, *spatial, channels)`, padded with zeros.

    Output shape:
        `(landmarks, batch, *spatial, filters)`.
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
            initializer=_initial_kernels,
            name="kernel",
        )

        def add(name, initializer, trainable=True):
            return self.add_weight(
                shape=(self.num_landmarks, self.filters),
                initializer=initializer,
                trainable=trainable,
                autocast=False,  # normalisation is computed in float32, as in Keras
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
        # The taps of the last axis become channels, because products of small matrices
        # are slow. The taps of all axes of a volume would need 27 times the memory.
        taps = [
            _part(x, 1 + rank, tap, shape[1 + rank]) for tap in range(self.kernel_size)
        ]
        x = ops.concatenate(taps, axis=-1)
        total = self._sum_of_taps(x, kernel, shape[2 : 1 + rank])
        return ops.reshape(total, (*shape[:-1], self.filters))

    def _sum_of_taps(self, x, kernel, sizes):
        """Sums over the taps of all axes except the last, one axis at a time."""
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
        if training and self.trainable:  # as in Keras: a frozen layer keeps its moments
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
    """Returns `length` entries along an axis, from index `start`."""
    # Slices an array of three axes instead of indexing with brackets: on TensorFlow the
    # gradient of an indexed array is twenty times as slow as a convolution.
    shape = list(ops.shape(x))
    inner = math.prod(shape[axis + 1 :])
    flat = ops.reshape(x, (-1, shape[axis], inner))
    flat = ops.slice(flat, (0, start, 0), (ops.shape(flat)[0], length, inner))
    shape[axis] = length
    return ops.reshape(flat, shape)


def _by_channel(values, rank):
    """Reshapes `(landmarks, channels)` so that it broadcasts to features."""
    return ops.reshape(values, (values.shape[0], *[1] * (rank + 1), values.shape[1]))


def _initial_kernels(shape, dtype=None):
    """Initialises the kernel of each landmark with the fan-in of a single network."""
    # One draw serves all landmarks: as additional filters they keep the fan-in.
    landmarks, *rest, filters = shape
    drawn = he_normal()((*rest, landmarks * filters), dtype=dtype)
    drawn = ops.reshape(drawn, (*rest, landmarks, filters))
    return ops.moveaxis(drawn, -2, 0)
