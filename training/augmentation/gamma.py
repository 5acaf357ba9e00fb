import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Gamma(IntensityTransform):
    """Raises grey values, rescaled to [0, 1], to a power.

    Args:
        gamma: Float, at least 0, no unit: the natural logarithm of the exponent is
            uniform in [-gamma, gamma]. 0 disables it.

    Raises:
        ValueError: If the number is negative.
    """

    gamma: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)

    def count(self, dimensions: int) -> int:
        return 1 if self.gamma else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.gamma:
            return {}
        return {"gamma": xp.exp(unit[..., 0] * self.gamma)}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "gamma" not in parameters:
            return image
        exponent = parameters["gamma"]
        exponent = warp.add_axes(exponent, len(image.shape) - len(exponent.shape))
        rescaled = xp.clip(image * 0.5 + 0.5, 1e-6, 1.0)
        return rescaled**exponent * 2.0 - 1.0
