import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation._numbers import require_ranges
from scn_keras.training.augmentation._pose import Pose, PoseTransform, matrix_of


@dataclasses.dataclass(frozen=True)
class Rotation(PoseTransform):
    """Rotates the image about the centre of the grid, in millimetres.

    Args:
        rotation: Float, radians, at least 0: angles are uniform in
            [-rotation, rotation]. A volume is rotated about x, then y, then z, by
            independent angles. 0 disables it.
        any_rotation: Bool, whether orientations are uniform over all angles of an image
            or over SO(3) for a volume, instead of limited by `rotation`.

    Raises:
        ValueError: If the angle is negative.
    """

    rotation: float = 0.0
    any_rotation: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)

    def count(self, dimensions: int) -> int:
        return 1 if dimensions == 2 else 3

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        return {"rotation": self._matrix(unit, len(grid), xp)}

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        if "rotation" not in parameters:
            return pose
        return pose._replace(rotation=parameters["rotation"])

    def _matrix(self, unit, d, xp):
        """Returns matrices `(..., D, D)`, from one or three numbers in [-1, 1]."""
        if self.any_rotation and d == 3:
            return _any_orientation(unit, xp)
        angle = unit * (math.pi if self.any_rotation else self.rotation)
        cos, sin = xp.cos(angle), xp.sin(angle)
        if d == 2:
            c, s = cos[..., 0], sin[..., 0]
            return matrix_of([[c, -s], [s, c]], xp)
        (cx, cy, cz), (sx, sy, sz) = (
            [values[..., k] for k in range(3)] for values in (cos, sin)
        )
        return matrix_of(
            [
                [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
                [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
                [-sy, cy * sx, cy * cx],
            ],
            xp,
        )


def _any_orientation(unit, xp):
    """Returns rotations uniform in SO(3), from unit quaternions of uniform numbers.

    Reference: Shoemake, Uniform random rotations, Graphics Gems III, 1992.
    """
    first = unit[..., 0] * 0.5 + 0.5
    near, far = xp.sqrt(1.0 - first), xp.sqrt(first)
    a, b = unit[..., 1] * math.pi, unit[..., 2] * math.pi
    x, y = near * xp.sin(a), near * xp.cos(a)
    z, w = far * xp.sin(b), far * xp.cos(b)
    return matrix_of(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        xp,
    )
