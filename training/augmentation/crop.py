import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.training.augmentation._pose import Pose, PoseTransform, sides_of

_AXES = "xyz"


@dataclasses.dataclass(frozen=True)
class Crop(PoseTransform):
    """Places a grid that is smaller than the image anywhere within the image.

    Args:
        crop: Str, the axes (of `"xyz"`) along which it does so. `""` disables it.

    Raises:
        ValueError: If the string holds anything else.
    """

    crop: str = ""

    def __post_init__(self) -> None:
        if set(self.crop) - set(_AXES):
            raise ValueError(
                "`crop` of the augmentation names axes of 'xyz'. "
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
        beyond = xp.maximum(size - sides_of(grid, xp), 0.0)
        return pose._replace(offset=parameters["crop"] * beyond * 0.5)
