"""What a drawing shows of a layer: its kind, its kernel and how far it reaches."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from scn_keras.layers import HeatmapProduct, Upsample
from scn_keras.pictures._receptive_field import Reach, identity, upsampling, window

_SUPPORTS = {"nearest": 0, "linear": 1, "cubic": 2}

# Classes of layers and operations of Keras by their names. Operations such as
# `ops.add` have classes that are not public.
_KINDS = {
    "Add": "sum",
    "Subtract": "sum",
    "Multiply": "product",
    "Concatenate": "concatenation",
    "Pad": "padding",
    "ZeroPadding1D": "padding",
    "ZeroPadding2D": "padding",
    "ZeroPadding3D": "padding",
}
_PIXELWISE = {
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("GaussianNoise", "GaussianDropout", "AlphaDropout", "Activation", "ReLU"),
    *("LeakyReLU", "LeakyRelu", "PReLU", "ELU", "Elu", "Relu", "Relu6", "Softmax"),
    *("Tanh", "Sigmoid", "Silu", "Gelu", "Absolute", "Abs", "Square", "Softplus"),
    *("Exp", "Negative", "Cast", "Identity", "BatchNormalization", "Softsign"),
}


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """Kind, kernel, activation and reach of one call of a layer.

    Attributes:
        kind: Str, see `NetworkNode`.
        kernel: Tuple of int by axis; empty for operations without one.
        activation: Str, or `""`.
        axes: Tuple of `Reach` by axis; `None` if unknown.
    """

    kind: str
    kernel: tuple[int, ...] = ()
    activation: str = ""
    axes: tuple[Reach, ...] | None = None

    def reach(self, rank: int) -> tuple[Reach, ...] | None:
        """Returns one `Reach` for each axis, or `None` if it is unknown."""
        if self.kind in ("convolution", "pooling", "upsampling", "padding", "other"):
            return self.axes
        return (identity,) * rank


def facts_of(operation: Any, inputs: Sequence[Any], output: Any) -> LayerFacts:
    """Returns what a drawing shows of one call of a layer or an operation.

    Args:
        operation: Layer or operation of Keras; `None` for the image.
        inputs: Sequence of its symbolic inputs.
        output: Its symbolic output.
    """
    if operation is None:
        return LayerFacts("input")
    activation = _activation_name(operation)
    name = type(operation).__name__
    rank = len(inputs[0].shape) - 2 if inputs else 0
    sizes = tuple(inputs[0].shape[1:-1]) if inputs else ()
    if isinstance(operation, HeatmapProduct):
        return LayerFacts("product")
    if isinstance(operation, Upsample):
        support = _SUPPORTS[operation.interpolation] if operation.factor > 1 else 0
        axes = (upsampling(operation.factor, support),) * rank
        return LayerFacts("upsampling", (operation.factor,) * rank, activation, axes)
    if isinstance(
        operation,
        keras.layers.UpSampling1D
        | keras.layers.UpSampling2D
        | keras.layers.UpSampling3D,
    ):
        factors = _tuple(operation.size, rank)
        kind = getattr(operation, "interpolation", "nearest")
        if kind not in ("nearest", "bilinear"):
            return LayerFacts("upsampling", factors, activation)
        axes = tuple(upsampling(f, int(kind == "bilinear")) for f in factors)
        return LayerFacts("upsampling", factors, activation, axes)
    if name in _KINDS:
        return LayerFacts(_KINDS[name], (), activation, _padding(operation, rank))
    if name in _PIXELWISE:
        return LayerFacts("pixelwise", (), activation or name.lower())
    if hasattr(operation, "pool_size"):
        kernel = _tuple(operation.pool_size, rank)
        strides = _tuple(operation.strides, rank)
        axes = _windows(operation, sizes, kernel, strides, (1,) * rank)
        return LayerFacts("pooling", kernel, activation, axes)
    if hasattr(operation, "kernel_size"):
        kernel = _tuple(operation.kernel_size, rank)
        if "Transpose" in name:
            return LayerFacts("upsampling", _tuple(operation.strides, rank), activation)
        strides = _tuple(getattr(operation, "strides", 1), rank)
        dilation = _tuple(getattr(operation, "dilation_rate", 1), rank)
        axes = _windows(operation, sizes, kernel, strides, dilation)
        return LayerFacts("convolution", kernel, activation, axes)
    return LayerFacts("other", (), activation)


def _windows(
    operation: Any,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Reach, ...]:
    # Layers without the attribute pad so that the size is kept.
    same = getattr(operation, "padding", "same") == "same"
    axes = []
    for size, k, s, d in zip(sizes, kernel, strides, dilation, strict=True):
        extent = (k - 1) * d + 1
        padding = max((-(-size // s) - 1) * s + extent - size, 0) if same else 0
        axes.append(window(k, s, padding // 2, d))
    return tuple(axes)


def _padding(operation: Any, rank: int) -> tuple[Reach, ...] | None:
    widths = getattr(operation, "pad_width", getattr(operation, "padding", None))
    if not isinstance(widths, list | tuple):
        return None
    if len(widths) == rank + 2:  # those of the batch and of the channels, too
        widths = widths[1:-1]
    if len(widths) != rank:
        return None
    return tuple(window(1, 1, int(before)) for before, _ in widths)


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _activation_name(operation: Any) -> str:
    activation = getattr(operation, "activation", None)
    if activation is None or activation is keras.activations.linear:
        return ""
    name = getattr(activation, "__name__", None) or type(activation).__name__
    return {"LeakyReLU": "leaky ReLU", "relu": "ReLU"}.get(name, name)
