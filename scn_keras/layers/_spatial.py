"""Makes Keras layers for a given spatial rank, so that layers are written once."""

import keras
from keras import ops

_CONVOLUTIONS = {1: "Conv1D", 2: "Conv2D", 3: "Conv3D"}
PADDINGS = ("zero", "reflect")
POOLINGS = {"average": "AveragePooling", "max": "MaxPooling"}


def spatial_rank(layer, input_shape):
    """Returns the number of spatial axes of a channels-last `input_shape`."""
    rank = len(input_shape) - 2
    if rank not in _CONVOLUTIONS:
        raise ValueError(
            f"Layer `{layer.name}` expects inputs of shape (batch, *spatial, "
            f"channels) with 1 to 3 spatial axes. Received: input_shape={input_shape}"
        )
    return rank


def check_positive_integers(**values):
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"`{name}` must be an integer of at least 1. Received: {name}={value}"
            )


def check_channels_known(layer, input_shape):
    if input_shape[-1] is None:
        raise ValueError(
            f"Layer `{layer.name}` cannot be built without a known number of input "
            f"channels. Received: input_shape={input_shape}"
        )


def check_divisible(layer, shape, factor, reason):
    """Raises an error if `factor` does not divide a known spatial size."""
    sizes = tuple(shape[1:-1])
    if any(isinstance(size, int) and size % factor for size in sizes):
        raise ValueError(
            f"Layer `{layer.name}` needs spatial sizes that are multiples of {factor} "
            f"({reason}). Received: sizes={sizes}. Pad or resize the images to the "
            "next multiple."
        )


def check_choice(choices, **values):
    for name, value in values.items():
        if value not in choices:
            raise ValueError(
                f"`{name}` must be one of {tuple(choices)}. Received: {name}={value!r}"
            )


def convolution(rank, filters, kernel_size, padding="zero", **kwargs):
    """Makes a convolution that keeps the spatial size, to be called by `convolve`."""
    # Always channels last, because all heatmaps are `(batch, *spatial, landmarks)`.
    return getattr(keras.layers, _CONVOLUTIONS[rank])(
        filters,
        kernel_size,
        padding="same" if padding == "zero" else "valid",
        data_format="channels_last",
        **kwargs,
    )


def convolve(layer, x):
    """Calls a layer made by `convolution`, with reflection padding where it is set."""
    return layer(_reflect(x, layer.kernel_size) if layer.padding == "valid" else x)


def _reflect(x, kernel_size):
    widths = [((size - 1) // 2, size // 2) for size in kernel_size]
    for size, (_, width) in zip(x.shape[1:-1], widths, strict=True):
        if isinstance(size, int) and size <= width:
            raise ValueError(
                f"Reflection at the border requires more than {width} pixels along "
                f"every axis for kernels of {tuple(kernel_size)}. Received: "
                f"sizes={tuple(x.shape[1:-1])}. Use larger images or padding='zero'."
            )
    if keras.backend.backend() == "torch":
        # PyTorch reflects at most the last three of five axes, so the channels are
        # moved before the spatial axes.
        axes = range(1, len(x.shape) - 1)
        x = ops.transpose(x, (0, len(x.shape) - 1, *axes))
        x = ops.pad(x, [(0, 0), (0, 0), *widths], mode="reflect")
        return ops.transpose(x, (0, *(axis + 1 for axis in axes), 1))
    return ops.pad(x, [(0, 0), *widths, (0, 0)], mode="reflect")


def feature_convolution(
    rank, filters, kernel_size, padding, negative_slope, dtype, name, **kwargs
):
    """Makes a hidden convolution of the published networks, for use by `convolve`."""
    return convolution(
        rank,
        filters,
        kernel_size,
        padding,
        # Without `dtype` it would compute in the global dtype policy.
        activation=keras.layers.LeakyReLU(negative_slope, dtype=dtype),
        kernel_initializer=he_normal(),
        dtype=dtype,
        name=name,
        **kwargs,
    )


def reduce_image(image, filters, stride, negative_slope, dtype):
    """Reduces an image to the size of heatmaps of a stride by a strided convolution.

    The kernel is twice as wide as the stride, so that each output depends on its own
    pixels and as many around them. Image details are kept as features, at a fraction of
    the time that a finer grid would take.
    """
    check_positive_integers(stride=stride)
    if stride == 1:
        return image
    return feature_convolution(
        len(image.shape) - 2,
        filters,
        2 * stride,
        "zero",
        negative_slope,
        dtype,
        "reduction",
        strides=stride,
    )(image)


def heatmap_convolution(rank, num_landmarks, kernel_size, stddev, **kwargs):
    """Makes the head of a network, whose initial output is close to zero."""
    return convolution(
        rank,
        num_landmarks,
        kernel_size,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=stddev),
        dtype="float32",  # heatmaps carry sub-pixel positions
        **kwargs,
    )


def pooling(rank, size, kind="average", **kwargs):
    if rank == 3 and keras.backend.backend() == "torch":
        kwargs["dtype"] = "float32"  # PyTorch on CPU cannot pool bfloat16 volumes
    layer = getattr(keras.layers, f"{POOLINGS[kind]}{rank}D")
    return layer(size, data_format="channels_last", **kwargs)


def he_normal():
    # Each layer gets a new instance, because one instance gives all kernels of the same
    # shape the same numbers.
    return keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal")
