import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Contrast(IntensityTransform):
    """Scales the deviation of grey values from the mean of the image.

    Args:
        contrast: Float, from 0 to below 1, no unit: the factor is uniform in
            [1 - contrast, 1 + contrast]. 0 disables it.

    Raises:
        ValueError: If the number is out of its range.
    """

    contrast: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self, below_one=("contrast",))

    def count(self, dimensions: int) -> int:
        return 1 if self.contrast else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.contrast:
            return {}
        return {"contrast": 1.0 + unit[..., 0] * self.contrast}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "contrast" not in parameters:
            return image
        factor = parameters["contrast"]
        d = len(image.shape) - len(factor.shape)
        mean = xp.mean(image, axis=tuple(range(-d, 0)), keepdims=True)
        return (image - mean) * warp.add_axes(factor, d) + mean
