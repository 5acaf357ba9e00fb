import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation._pose import Pose, PoseTransform


@dataclasses.dataclass(frozen=True)
class Flip(PoseTransform):
    """Mirrors the image in x, before the rotation and the translation.

    Left and right landmarks are exchanged (`swap_pairs`), which requires a schema with
    `pairs`.

    Args:
        flip: Float, from 0 to 1, the probability of mirroring. 0 disables it.

    Raises:
        ValueError: If the probability is out of its range.
    """

    flip: float = 0.0

    def __post_init__(self) -> None:
        require_ranges(self, up_to_one=("flip",))

    def count(self, dimensions: int) -> int:
        return 1 if self.flip else 0

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not self.flip:
            return {}
        mirrored = unit[..., 0] < 2.0 * self.flip - 1.0
        return {"flip": xp.cast(mirrored, "float32")}

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        if "flip" not in parameters:
            return pose
        left = xp.convert_to_tensor(np.eye(len(grid), dtype="float32")[0])
        return pose._replace(sign=1.0 - 2.0 * parameters["flip"][..., None] * left)


def swap_pairs(
    points: Any, flip: Any, pairs: Sequence[tuple[int, int]], xp: Any
) -> Any:
    """Exchanges the landmarks of each pair in mirrored images.

    Args:
        points: Array `(..., N, D)`.
        flip: Array `(...)`, 1 for mirrored images and 0 for others.
        pairs: The pairs of a `LandmarkSchema`.
        xp: The array namespace, see `scn_keras.array_api`.
    """
    order = np.arange(points.shape[-2])
    for left, right in pairs:
        order[[left, right]] = right, left
    swapped = xp.take(points, xp.convert_to_tensor(order), axis=-2)
    return xp.where(warp.add_axes(flip, 2) > 0.5, swapped, points)
