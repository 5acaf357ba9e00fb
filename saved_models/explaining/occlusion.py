"""What spatial configuration depends on, by occluding one landmark at a time."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from scn_keras.layers import HeatmapProduct


@dataclasses.dataclass(frozen=True, eq=False)
class Occlusion:
    """The effect of each landmark's local appearance on the other landmarks.

    Landmark j is occluded by setting its local appearance heatmap to zero at the
    entrance of the spatial configuration. The product is computed with the complete
    local appearance heatmaps.

    Attributes:
        displacement: Array `(N, N, D)` in pixels of the grid: `[i, j]` is the vector by
            which the point of i moves if j is occluded; NaN if it is lost.
        change: Array `(N, N)`: `[i, j]` is the mean absolute change of the product, the
            heatmap of i, relative to its mean absolute value. The product counts the
            change only where local appearance responds.
        examples: Dict by landmark i of `(j, before, after)`: the other landmark with
            the largest change, and the spatial configuration heatmap of i without and
            with the occlusion of j, arrays `(*spatial,)`.
    """

    displacement: np.ndarray
    change: np.ndarray
    examples: dict[int, tuple[int, np.ndarray, np.ndarray]]


def factors_of(network: keras.Model) -> tuple[Any, Any] | None:
    """Returns local appearance and spatial configuration as symbolic tensors.

    These are the factors of the last `HeatmapProduct` of a network, the second of which
    depends on the first only. Returns `None` for networks without such a product.
    """
    products = [layer for layer in network.layers if isinstance(layer, HeatmapProduct)]
    if not products or len(products[-1].input) != 2:
        return None
    local, spatial = products[-1].input
    try:
        keras.Model(local, spatial)
    except ValueError:  # it also depends on the image
        return None
    return local, spatial


def occlude(
    model: Any,
    image: np.ndarray,
    landmarks: Sequence[int],
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Occlusion | None:
    """Occludes each landmark in turn at the entrance of the spatial configuration.

    Args:
        model: `LandmarkModel`.
        image: Array `(*grid, 1)`, its input.
        landmarks: Sequence of int, the landmarks with an example.
        track: Callable that iterates over the landmarks, for a progress bar.

    Returns:
        An `Occlusion`, or `None` for networks without local appearance and spatial
        configuration.
    """
    factors = factors_of(model.network)
    if factors is None:
        return None
    appearance = keras.Model(model.network.inputs, factors[0])([image[None]])
    configuration = keras.Model(*factors)
    stride = getattr(model.network, "heatmap_stride", 1)
    count = appearance.shape[-1]

    def decoded(product: Any) -> np.ndarray:
        peaks = model.peak(product, height=model.target.height())
        points = keras.ops.convert_to_numpy(peaks["points"])[0]
        return stride * (points[:, 0] if points.ndim == 3 else points)

    def mean(values: Any) -> np.ndarray:
        axes = tuple(range(len(values.shape) - 1))
        return keras.ops.convert_to_numpy(keras.ops.mean(keras.ops.abs(values), axes))

    before = configuration(appearance)
    product = appearance * before
    points, magnitude = decoded(product), np.maximum(mean(product), 1e-12)
    displacement, change = [], []
    examples: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
    for other in track(range(count)):
        kept = keras.ops.cast(keras.ops.arange(count) != other, appearance.dtype)
        after = configuration(appearance * kept)
        occluded = appearance * after
        displacement.append(decoded(occluded) - points)
        change.append(mean(occluded - product) / magnitude)
        for i in landmarks:
            largest = examples[i][0] if i in examples else None
            if i != other and (
                largest is None or change[other][i] > change[largest][i]
            ):
                pair = (
                    keras.ops.convert_to_numpy(s[0, ..., i]) for s in (before, after)
                )
                examples[i] = (other, *pair)
    return Occlusion(np.stack(displacement, axis=1), np.stack(change, axis=1), examples)
