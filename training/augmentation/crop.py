import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.training.augmentation._pose import Pose, PoseTransform, sides_of

_AXES = "xyz"


@dataclasses.dataclass(frozen=True)
class Crop(PoseTransform):
    """Places a grid that is smaller than the image at a random position in it.

    Args:
        crop: Str, the axes of `"xyz"` along which the position is random. `""`
            disables it.

    Raises:
        ValueError: If the string contains other characters.
    """

    crop: str = ""

    def __post_init__(self) -> None:
        if set(self.crop) - set(_AXES):
            raise ValueError(
                "`crop` of the augmentation must consist of axes of 'xyz'. "
                f"Received: crop={self.crop!r}"
            )

    def count(self, dimensions: int) -> int:
        return dimensions if self.crop else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.crop:
            return {}
        axes = [axis in self.crop for axis in _AXES[: len(grid)]]
        return {"crop": unit * xp.convert_to_tensor(np.array(axes, "float32"))}

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        if "crop" not in parameters:
            return pose
        margin = xp.maximum(size - sides_of(grid, xp), 0.0)
        return pose._replace(offset=parameters["crop"] * margin * 0.5)
