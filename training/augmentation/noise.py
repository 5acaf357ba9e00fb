import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Noise(IntensityTransform):
    """Adds white Gaussian noise.

    Args:
        noise: Float, at least 0, in grey values from -1 to 1: the standard deviation is
            uniform in [0, noise]. 0 disables it.

    Raises:
        ValueError: If the number is negative.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)

    def count(self, dimensions: int) -> int:
        return 1 if self.noise else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.noise:
            return {}
        level = (unit + 1.0) * (0.5 * self.noise)
        shape = (*xp.shape(unit)[:-1], *grid)
        field = xp.cast(xp.normal(seed, shape), "float32")
        return {"noise": field * warp.add_axes(level[..., 0], len(grid))}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "noise" not in parameters:
            return image
        return image + parameters["noise"]
