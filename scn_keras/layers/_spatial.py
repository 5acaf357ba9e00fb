"""The keras.layers classes by spatial rank, so that layers are written once."""

import keras

_CONVOLUTIONS = {1: "Conv1D", 2: "Conv2D", 3: "Conv3D"}
_POOLINGS = {1: "AveragePooling1D", 2: "AveragePooling2D", 3: "AveragePooling3D"}


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
            f"Layer `{layer.name}` needs to know its number of input channels when it "
            f"is built. Received: input_shape={input_shape}"
        )


def check_divisible(layer, shape, factor, reason):
    """Refuses known spatial sizes that `factor` does not divide."""
    sizes = tuple(shape[1:-1])
    if any(isinstance(size, int) and size % factor for size in sizes):
        raise ValueError(
            f"Layer `{layer.name}` needs spatial sizes that are multiples of {factor} "
            f"({reason}). Received: sizes={sizes}. Pad or resize the images to the "
            "next multiple."
        )


def convolution(rank, filters, kernel_size, **kwargs):
    # Always channels last: heatmaps are `(batch, *spatial, landmarks)` throughout.
    layer = getattr(keras.layers, _CONVOLUTIONS[rank])
    return layer(
        filters, kernel_size, padding="same", data_format="channels_last", **kwargs
    )


def average_pooling(rank, size, **kwargs):
    layer = getattr(keras.layers, _POOLINGS[rank])
    return layer(size, data_format="channels_last", **kwargs)


def he_normal():
    # A fresh instance a layer: one instance gives every kernel of the same shape
    # the same numbers.
    return keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal")
