import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Clip(IntensityTransform):
    """Limits grey values to -1 to 1.

    Args:
        clip: Bool, `False` disables it.
    """

    clip: bool = True

    def count(self, dimensions: int) -> int:
        return 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        return {}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        return xp.clip(image, -1.0, 1.0) if self.clip else image
