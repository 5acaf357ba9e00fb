import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation._numbers import require_one_unit, require_ranges
from scn_keras.training.augmentation._pose import Pose, PoseTransform, sides_of


@dataclasses.dataclass(frozen=True)
class Translation(PoseTransform):
    """Translates the image, independently along each axis.

    Args:
        translation: Float, at least 0, fraction of the grid's size: the shift is
            uniform in [-translation, translation]. 0 disables it.
        translation_mm: Float, at least 0, the same in millimetres. At least one of the
            two must be 0.

    Raises:
        ValueError: If an argument is negative or both are given.
    """

    translation: float = 0.0
    translation_mm: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self)
        require_one_unit(self, "translation")

    def count(self, dimensions: int) -> int:
        return dimensions

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        name = "translation_mm" if self.translation_mm else "translation"
        return {name: unit * getattr(self, name)}

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        if "translation_mm" in parameters:
            shift = parameters["translation_mm"]
            return pose._replace(shift=shift if spacing is None else shift / spacing)
        if "translation" in parameters:
            return pose._replace(shift=parameters["translation"] * sides_of(grid, xp))
        return pose
