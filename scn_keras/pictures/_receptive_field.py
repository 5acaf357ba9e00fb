"""Exact receptive fields of the layers of a network, traced backward by intervals."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Maps the first and last positions that an output reads to those of its input, along
# one axis of the image.
Reach = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def identity(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same positions, for operations on single pixels."""
    return low, high


def window(size: int, stride: int, before: int, dilation: int = 1) -> Reach:
    """Returns the reach of a convolution or of pooling along one axis.

    Args:
        size: Int, the number of taps.
        stride: Int, the distance of neighbouring outputs.
        before: Int, the padding before the first pixel.
        dilation: Int, the distance of neighbouring taps.
    """

    def reach(low, high):
        return low * stride - before, high * stride - before + (size - 1) * dilation

    return reach


def upsampling(factor: int, support: int) -> Reach:
    """Returns the reach of an interpolation with half-pixel centres along one axis.

    Args:
        factor: Int, the upsampling factor.
        support: Int, the support of the filter to either side in pixels of its input;
            0 for the nearest pixel.
    """

    def taps(position):
        if not support:
            return position // factor, position // factor
        # The centre of the output is at (2 i + 1 - factor) / (2 factor) of the input.
        numerator = 2 * position + 1 - factor
        exact = numerator % (2 * factor) == 0
        center = numerator // (2 * factor)
        # At the centre of a pixel, the weights of all other pixels are zero.
        first = np.where(exact, center, center - support + 1)
        return first, np.where(exact, center, center + support)

    def reach(low, high):
        return taps(low)[0], taps(high)[1]

    return reach


def receptive_fields(
    inputs: Sequence[Sequence[int]],
    reaches: Sequence[Sequence[Reach] | None],
    scales: Sequence[Sequence[float]],
) -> list[tuple[int, ...] | None]:
    """Returns the widths of the receptive fields of all nodes of a graph.

    Args:
        inputs: Sequence by node of the indices of the nodes that it reads. A node
            without inputs is the image.
        reaches: Sequence by node of one `Reach` for each axis; `None` for an operation
            whose reach is unknown.
        scales: Sequence by node of the sizes of its output relative to those of the
            image.

    Returns:
        A list of tuples of int, pixels along each axis in array order: the largest
        field of all pixels, without regard to the border. `None` for nodes that depend
        on an operation of unknown reach.
    """
    rank = max((len(r) for r in reaches if r is not None), default=0)
    known: list[bool] = []
    for sources, reach in zip(inputs, reaches, strict=True):
        known.append(reach is not None and all(known[source] for source in sources))
    fields: list[tuple[int, ...] | None] = []
    for node, is_known in enumerate(known):
        field = None
        if is_known:
            field = tuple(
                _width(node, axis, inputs, reaches, scales) for axis in range(rank)
            )
        fields.append(field)
    return fields


def _width(
    node: int,
    axis: int,
    inputs: Sequence[Sequence[int]],
    reaches: Sequence[Any],
    scales: Sequence[Sequence[float]],
) -> int:
    # The fields of neighbouring pixels differ. They repeat with the coarsest pixel
    # among all nodes.
    coarsest = min(scale[axis] for scale in scales)
    period = max(math.ceil(scales[node][axis] / coarsest), 1)
    positions = np.arange(period)
    read: dict[int, tuple[np.ndarray, np.ndarray]] = {node: (positions, positions)}
    width = 1
    # Inputs of a node have lower indices.
    for current in range(node, -1, -1):
        if current not in read:
            continue
        low, high = read[current]
        if not inputs[current]:
            width = max(width, int((high - low).max()) + 1)
            continue
        low, high = reaches[current][axis](low, high)
        for source in inputs[current]:
            before = read.get(source, (low, high))
            read[source] = (
                np.minimum(before[0], low),
                np.maximum(before[1], high),
            )
    return width
