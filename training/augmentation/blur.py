import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Blur(IntensityTransform):
    """Smooths the image with a Gaussian.

    Args:
        blur: Float, at least 0, in pixels of the grid: the standard deviation is
            uniform in [0, blur]. 0 disables it.

    Raises:
        ValueError: If the number is negative.
    """

    blur: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)

    def count(self, dimensions: int) -> int:
        return 1 if self.blur else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.blur:
            return {}
        return {"blur": (unit[..., 0] + 1.0) * (0.5 * self.blur)}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "blur" not in parameters:
            return image
        d = len(image.shape) - len(parameters["blur"].shape)
        # Weights are normalised over the pixels inside the image.
        sigma = warp.add_axes(xp.maximum(parameters["blur"], 0.05), 3)
        for axis in range(d):
            index = np.arange(image.shape[axis - d], dtype="float32")
            distance = xp.convert_to_tensor(index[:, None] - index)
            weights = xp.exp(-0.5 * (distance / sigma) ** 2)
            weights = weights / xp.sum(weights, axis=-1, keepdims=True)
            image = warp.along_axis(weights, image, axis, d, xp, xp.matmul)
        return image
