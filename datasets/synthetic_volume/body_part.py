import dataclasses

import numpy as np


@dataclasses.dataclass
class BodyPart:
    """A rounded body in space.

    Its surface is `(x^2 + y^2)^(p/2) + |z|^p = 1` in units of its half axes: an
    ellipsoid for `p = 2`, a drum for a larger `p`. It is symmetric about its centre.

    Args:
        centre: Array `(3,)`, mm.
        axes: Array `(3, 3)`, the axes x, y and z of the body as columns, orthonormal.
        half: Array `(3,)`, half the length along each of them, mm.
        density: Float, HU inside.
        shell: Float, HU at the surface; None for the same as inside.
        drum: Float, the exponent `p`.
        hole: Float, the radius of a hole along z, relative to the half axes x and y.
    """

    centre: np.ndarray
    axes: np.ndarray
    half: np.ndarray
    density: float
    shell: float | None = None
    drum: float = 2.0
    hole: float = 0.0

    def draw(self, volume: np.ndarray, affine: np.ndarray) -> None:
        """Draws the body into a volume.

        Args:
            volume: Float32 array `(z, y, x)`, HU, changed in place.
            affine: Array `(4, 4)`, index coordinates x, y, z to mm.
        """
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        edge = float(spacing.mean())
        reach = self.half + edge
        to_index = np.linalg.inv(affine[:3, :3])
        middle = to_index @ (self.centre - affine[:3, 3])
        # The bounding box, in index coordinates, of a box along the axes of the body.
        extent = np.abs(to_index @ self.axes) @ reach
        low = np.maximum(np.ceil(middle - extent), 0).astype(int)
        high = np.minimum(np.floor(middle + extent), volume.shape[::-1] - np.ones(3))
        high = high.astype(int) + 1
        if (low >= high).any():
            return
        # The coordinates of the voxels along the axes of the body, in half axes.
        step = (self.axes.T @ affine[:3, :3]) / self.half[:, None]
        x, y, z = (
            np.arange(a, b) - m for a, b, m in zip(low, high, middle, strict=True)
        )
        u, v, w = (
            (row[0] * x + (row[1] * y[:, None] + row[2] * z[:, None, None])).astype(
                np.float32
            )
            for row in step
        )
        across = u * u + v * v
        size = across ** (self.drum / 2) + np.abs(w) ** self.drum
        size = np.maximum(size ** (1 / self.drum), 1e-6)
        # Along the ray from the centre, in mm.
        radius = np.sqrt(
            (u * self.half[0]) ** 2 + (v * self.half[1]) ** 2 + (w * self.half[2]) ** 2
        )
        outside = radius * (1 - 1 / size)
        share = np.clip(0.5 - outside / edge, 0, 1)
        if self.hole:
            flat = np.sqrt(across)
            inner = (flat - self.hole) * np.minimum(self.half[0], self.half[1])
            share *= np.clip(0.5 + inner / edge, 0, 1)
        value = np.float32(self.density)
        if self.shell is not None:
            # Compact bone of 2 mm, blurred by the size of a voxel.
            compact = np.clip(1 + (outside + 2) / edge, 0, 1)
            value = value + (self.shell - value) * compact
        region = volume[
            tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        ]
        region += share * (value - region)
