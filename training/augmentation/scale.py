import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation._pose import Pose, PoseTransform


@dataclasses.dataclass(frozen=True)
class Scale(PoseTransform):
    """Enlarges or shrinks the image about the centre of the grid.

    Args:
        scale: Float, from 0 to below 1, no unit: the common factor of all axes is
            uniform in [1 - scale, 1 + scale]. 0 disables it.
        scale_per_axis: Float, from 0 to below 1, no unit: a further, independent
            factor of each axis, uniform in [1 - scale_per_axis, 1 + scale_per_axis].

    Raises:
        ValueError: If an argument is out of its range.
    """

    scale: float = 0.0
    scale_per_axis: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self, below_one=("scale", "scale_per_axis"))

    def count(self, dimensions: int) -> int:
        return 1 + dimensions

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        return {
            "scale": (1.0 + unit[..., :1] * self.scale)
            * (1.0 + unit[..., 1:] * self.scale_per_axis)
        }

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        if "scale" not in parameters:
            return pose
        return pose._replace(scale=parameters["scale"])
