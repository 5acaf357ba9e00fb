import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation.intensity_transform import IntensityTransform


@dataclasses.dataclass(frozen=True)
class Erase(IntensityTransform):
    """Fills a box at a random position with one random grey value from -1 to 1.

    Args:
        erase: Float, from 0 to 1, the probability of a box. 0 disables it.
        erase_size: Float, from 0 to 1, fraction of the grid's size: each side of the
            box is uniform in [0, erase_size].

    Raises:
        ValueError: If an argument is out of its range.
    """

    erase: float = 0.0
    erase_size: float = 0.3

    def __post_init__(self) -> None:
        require_ranges(self, up_to_one=("erase", "erase_size"))

    def count(self, dimensions: int) -> int:
        return 2 * dimensions + 2 if self.erase else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.erase:
            return {}
        d = len(grid)
        fraction = unit * 0.5 + 0.5
        center, side = fraction[..., :d], fraction[..., d : 2 * d] * self.erase_size
        erased = xp.cast(fraction[..., 2 * d] < self.erase, "float32")
        half = 0.5 * side * erased[..., None]
        box = xp.stack([center - half, center + half], axis=-2)
        return {"erase_box": box, "erase_value": unit[..., 2 * d + 1]}

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        if "erase_box" not in parameters:
            return image
        box, value = parameters["erase_box"], parameters["erase_value"]
        d = len(image.shape) - len(value.shape)
        sizes, inside = image.shape[-d:], True
        for k, index in enumerate(warp.grid_axes(sizes, xp)):
            low, high = (
                warp.add_axes(box[..., side, k] * sizes[-1 - k], d) for side in (0, 1)
            )
            inside = (index >= low) & (index < high) & inside
        return xp.where(inside, warp.add_axes(value, d), image)
