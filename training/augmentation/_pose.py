"""The affine of the built-in geometric transforms."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scn_keras.training.augmentation.geometric_transform import GeometricTransform


class Pose(NamedTuple):
    """The components of one affine. A component that is `None` changes nothing.

    A point p of the image is mapped to c + R S (p - c) + t: it is scaled and rotated
    about the centre c of the grid, then translated.

    Args:
        scale: Array `(..., D)`, positive factors in x, y(, z).
        sign: Array `(..., D)`, -1 along mirrored axes and 1 along others.
        rotation: Array `(..., D, D)`, the rotation matrix R.
        shift: Array `(..., D)`, the translation t in pixels of the grid.
        offset: Array `(..., D)`, the shift of the grid in the image, in its pixels.
    """

    scale: Any = None
    sign: Any = None
    rotation: Any = None
    shift: Any = None
    offset: Any = None

    def affine(self, grid: Sequence[int], spacing: Any, xp: Any) -> Any:
        """Returns the map from the grid to the grid before the transforms.

        Args:
            grid, spacing, xp: See `GeometricTransform.affine`.
        """
        # This is the inverse map: from pixels of the grid to their original positions.
        d = len(grid)
        center = (sides_of(grid, xp) - 1.0) * 0.5
        zero = self._zero(xp)
        scale, rotation = self.scale, self.rotation
        if scale is None:
            scale = zero[..., None] + xp.convert_to_tensor(np.ones(d, "float32"))
        if self.sign is not None:
            scale = scale * self.sign
        if rotation is None:
            identity = xp.convert_to_tensor(np.eye(d, dtype="float32"))
            rotation = zero[..., None, None] + identity
        rows = [
            [rotation[..., k, row] / scale[..., row] for k in range(d)]
            for row in range(d)
        ]
        if spacing is not None:  # the rotation is in millimetres
            for row in range(d):
                for k in range(d):
                    rows[row][k] = rows[row][k] * (spacing[..., k] / spacing[..., row])
        moved_center = center if self.shift is None else center + self.shift
        offset = [
            center[row] - sum(rows[row][k] * moved_center[..., k] for k in range(d))
            for row in range(d)
        ]
        if self.offset is not None:
            offset = [o + self.offset[..., row] for row, o in enumerate(offset)]
        rows = [[*row, o] for row, o in zip(rows, offset, strict=True)]
        rows.append([zero] * d + [zero + 1.0])
        return matrix_of(rows, xp)

    def _zero(self, xp):
        """Returns zeros with the shape of the batch."""
        for values, axes in (
            (self.scale, (0,)),
            (self.sign, (-1,)),
            (self.rotation, (0, 0)),
            (self.shift, (0,)),
            (self.offset, (0,)),
        ):
            if values is not None:
                return values[(..., *axes)] * 0.0
        return xp.convert_to_tensor(np.zeros((), "float32"))


class PoseTransform(GeometricTransform):
    """Base class of built-in geometric transforms, which set components of a `Pose`."""

    def place(
        self,
        pose: Pose,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Pose:
        """Returns the pose with this transform, or the given one without parameters.

        Args:
            pose: `Pose` of the transforms before this one.
            parameters, grid, spacing, size, xp: See `GeometricTransform.affine`.
        """
        raise NotImplementedError

    def affine(
        self,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Any:
        pose = self.place(Pose(), parameters, grid, spacing, size, xp)
        return pose.affine(grid, spacing, xp)


def sides_of(grid: Sequence[int], xp: Any) -> Any:
    """Returns the sizes of a grid as a float32 array `(D,)`, x, y(, z)."""
    return xp.convert_to_tensor(np.array(grid[::-1], "float32"))


def matrix_of(rows: Sequence[Sequence[Any]], xp: Any) -> Any:
    """Returns the array `(..., m, n)` of m rows of n arrays `(...)`."""
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
