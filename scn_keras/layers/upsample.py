import math

import keras
from keras import ops

from scn_keras.layers._spatial import spatial_rank


def _linear(t):
    return ops.maximum(1.0 - ops.abs(t), 0.0)


def _cubic(t):
    # Keys (1981) with a = -0.5, the Catmull-Rom spline.
    t = ops.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1.0
    far = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return ops.where(t < 1.0, near, ops.where(t < 2.0, far, 0.0))


# Each kernel with its support to either side, in pixels.
_KERNELS = {"linear": (_linear, 1), "cubic": (_cubic, 2)}
_INTERPOLATIONS = ("nearest", *_KERNELS)
_BORDERS = ("zero", "replicate")


@keras.saving.register_keras_serializable(package="scn_keras")
class Upsample(keras.layers.Layer):
    """Upsamples every spatial axis by an integer factor with a fixed filter.

    Pixel edges are aligned (half-pixel centres): pixel `i` of the input covers
    pixels `factor * i` to `factor * i + factor - 1` of the output. The filter is
    separable and has no weights. It is the same function on every backend, for every
    rank and for sizes that are unknown at build time.

    Reference: the fixed upsampling filters of SpatialConfiguration-Net
    (Payer et al., Medical Image Analysis 54, 2019), whose border is zero.

    Args:
        factor: Int, the upsampling factor of every spatial axis.
        interpolation: `"nearest"`, `"linear"` or `"cubic"` (Keys, a = -0.5).
        border: The values outside the input: `"zero"`, as in the reference, with which
            the output fades at the border, or `"replicate"`. It has no effect on
            `"nearest"`.

    Input shape:
        `(batch, *spatial, channels)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *(factor * spatial), channels)`.

    Raises:
        ValueError: If an argument is none of the values above.

    Example:

    >>> x = np.ones((1, 2, 2, 1), "float32")
    >>> y = scn_keras.layers.Upsample(2, "linear")(x)
    >>> float(y[0, 0, 0, 0]), float(y[0, 1, 1, 0])
    (0.5625, 1.0)
    """

    def __init__(self, factor=2, interpolation="linear", border="zero", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(
                f"`factor` must be an integer of at least 1. Received: factor={factor}"
            )
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"`interpolation` must be one of {_INTERPOLATIONS}. "
                f"Received: interpolation={interpolation!r}"
            )
        if border not in _BORDERS:
            raise ValueError(
                f"`border` must be one of {_BORDERS}. Received: border={border!r}"
            )
        self.factor = factor
        self.interpolation = interpolation
        self.border = border

    def build(self, input_shape):
        spatial_rank(self, input_shape)
        self.built = True

    def call(self, inputs):
        if self.factor == 1:
            return inputs
        rank = len(inputs.shape) - 2
        if self.interpolation == "nearest":
            for axis in range(1, rank + 1):
                inputs = ops.repeat(inputs, self.factor, axis=axis)
            return inputs
        if self._has_native_kernel(inputs, rank):
            return self._native(inputs)
        # Filter weights in bfloat16 would be too inaccurate for heatmaps, and
        # TensorFlow's bicubic kernel has no bfloat16 gradient.
        x = ops.cast(inputs, "float32") if self.interpolation == "cubic" else inputs
        for axis in range(1, rank + 1):
            x = self._upsample_axis(x, axis)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        spatial = (
            None if size is None else size * self.factor for size in input_shape[1:-1]
        )
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "factor": self.factor,
            "interpolation": self.interpolation,
            "border": self.border,
        }

    def _has_native_kernel(self, inputs, rank):
        # TensorFlow's bilinear kernel is even faster. It requires sizes that are known
        # when tracing, because Keras 3.14 and 3.15 compare the size in Python.
        return (
            keras.backend.backend() == "tensorflow"
            and rank == 2
            and self.interpolation == "linear"
            and None not in inputs.shape[1:-1]
        )

    def _native(self, inputs):
        if self.factor == 2 and self.border == "zero":
            return _double(inputs)
        return _resize(inputs, self.factor, self.border)

    def _upsample_axis(self, x, axis):
        # A product with a banded matrix is five to forty times as fast on a CPU,
        # forward and backward, as slicing and interleaving, although most of the
        # matrix is zero.
        kernel, support = _KERNELS[self.interpolation]
        size = ops.shape(x)[axis]
        margin = 0
        if self.border == "replicate":
            margin = support
            x = _replicate(x, axis, margin)
        # Output pixel f * i + p lies at i + (p + 0.5) / f - 0.5 of the input.
        row = ops.arange(size * self.factor, dtype="int32")[:, None]
        tap = ops.arange(size + 2 * margin, dtype="int32")[None, :] - margin
        phase = ops.cast(row % self.factor, "float32") + 0.5
        distance = ops.cast(row // self.factor - tap, "float32")
        matrix = ops.cast(kernel(distance + phase / self.factor - 0.5), x.dtype)
        shape = list(ops.shape(x))
        # The axes before and the axes after this one are merged.
        after = math.prod(shape[axis + 1 :])
        y = ops.matmul(matrix, ops.reshape(x, (-1, shape[axis], after)))
        shape[axis] = size * self.factor
        return ops.reshape(y, shape)


def _replicate(x, axis, width):
    first, last = (
        ops.take(x, ops.full((width,), index, dtype="int32"), axis=axis)
        for index in (0, ops.shape(x)[axis] - 1)
    )
    return ops.concatenate([first, x, last], axis=axis)


def _resize(x, factor, border):
    height, width = x.shape[1:-1]
    # The kernel replicates the border of its input, so the input is padded with zeros.
    pad = 1 if border == "zero" else 0
    padded = ops.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    size = ((height + 2 * pad) * factor, (width + 2 * pad) * factor)
    y = ops.image.resize(
        padded, size, interpolation="bilinear", data_format="channels_last"
    )
    if pad:
        y = y[:, factor:-factor, factor:-factor, :]
    return ops.cast(y, x.dtype)


@ops.custom_gradient
def _double(x):
    def gradient(*args, upstream=None):
        # The transpose of doubling is a correlation with (1, 3, 3, 1) / 4 along each
        # axis at every second pixel. As polynomials (1, 3, 3, 1) = (1, 1)^3, so three
        # average pools compute it, several times as fast as the kernel's own gradient.
        y = upstream if upstream is not None else args[0]
        y = ops.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]])
        for stride in (1, 1, 2):
            y = ops.average_pool(y, 2, strides=stride, data_format="channels_last")
        return 4.0 * y

    return _resize(x, 2, "zero"), gradient
