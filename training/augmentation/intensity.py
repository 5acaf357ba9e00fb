import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Intensity(IntensityTransform):
    """Shifts, then scales grey values.

    Args:
        intensity_shift: Float, at least 0, in grey values from -1 to 1: the shift is
            uniform in [-intensity_shift, intensity_shift]. 0 disables it.
        intensity_scale: Float, from 0 to below 1, no unit: the factor is uniform in
            [1 - intensity_scale, 1 + intensity_scale]. 0 disables it.

    Raises:
        ValueError: If an argument is out of its range.
    """

    intensity_shift: float = 0.0
    intensity_scale: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self, below_one=("intensity_scale",))

    def count(self, dimensions: int) -> int:
        return 2

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        return {
            "intensity_shift": unit[..., 0] * self.intensity_shift,
            "intensity_scale": 1.0 + unit[..., 1] * self.intensity_scale,
        }

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "intensity_shift" not in parameters:
            return image
        shift, scale = (parameters[f"intensity_{n}"] for n in ("shift", "scale"))
        d = len(image.shape) - len(shift.shape)
        return (image + warp.add_axes(shift, d)) * warp.add_axes(scale, d)
