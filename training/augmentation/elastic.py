import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras import warp
from scn_keras.training.augmentation._numbers import require_one_unit, require_ranges
from scn_keras.training.augmentation._pose import sides_of
from scn_keras.training.augmentation.geometric_transform import GeometricTransform


@dataclasses.dataclass(frozen=True)
class Elastic(GeometricTransform):
    """Deforms the image by a cubic B-spline with random control points.

    Displacements are limited to 0.48 of the distance between control points (0.40 for
    volumes), so that the deformation cannot fold.

    Args:
        elastic: Float, at least 0, fraction of the grid's size: the displacement of
            each control point is uniform in [-elastic, elastic] along each axis. 0
            disables it.
        elastic_mm: Float, at least 0, the same in millimetres. At least one of the two
            must be 0.
        elastic_points: Int, at least 4, the number of control points per axis. As in
            the reference, the default of 5 includes one outside the grid on each side.

    Raises:
        ValueError: If an argument is out of its range or both amplitudes are given.
    """

    elastic: float = 0.0
    elastic_mm: float = 0.0
    elastic_points: int = 5

    def __post_init__(self) -> None:
        require_ranges(self)
        require_one_unit(self, "elastic")
        if self.elastic_points < 4:
            raise ValueError(
                "`elastic_points` of the augmentation must be at least 4. "
                f"Received: elastic_points={self.elastic_points}"
            )

    def count(self, dimensions: int) -> int:
        if not (self.elastic or self.elastic_mm):
            return 0
        return dimensions * self.elastic_points**dimensions

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        if not (self.elastic or self.elastic_mm):
            return {}
        d = len(grid)
        name = "elastic_mm" if self.elastic_mm else "elastic"
        shape = (*xp.shape(unit)[:-1], d, *[self.elastic_points] * d)
        return {name: xp.reshape(unit, shape) * getattr(self, name)}

    def displacements(
        self, parameters: Mapping[str, Any], grid: Sequence[int], spacing: Any, xp: Any
    ) -> Any | None:
        d = len(grid)
        if "elastic_mm" in parameters:
            field = parameters["elastic_mm"]
            return field if spacing is None else field / warp.add_axes(spacing, d)
        if "elastic" in parameters:
            return parameters["elastic"] * warp.add_axes(sides_of(grid, xp), d)
        return None
