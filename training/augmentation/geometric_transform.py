from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation.transform import Transform


class GeometricTransform(Transform):
    """Base class of transforms of the position and shape of an image and its points.

    A transform returns an affine, displacements of control points, or both. All
    transforms are composed into one map from the grid to the image, `A (p + d(p))`
    (`scn_keras.warp`). The image is interpolated once with this map, and points are
    mapped by its exact inverse. Only `Flip` may mirror the image, because it also
    exchanges left and right landmarks.

    Example:

    >>> from scn_keras.training.augmentation import GeometricTransform
    >>> class Shear(GeometricTransform):
    ...     def __init__(self, shear):
    ...         self.shear = shear
    ...
    ...     def count(self, dimensions):
    ...         return 1
    ...
    ...     def draw(self, unit, grid, xp, seed=None):
    ...         return {"shear": unit[..., 0] * self.shear}
    ...
    ...     def affine(self, parameters, grid, spacing, size, xp):
    ...         shear = parameters["shear"]  # about the middle row
    ...         zero, one = shear * 0.0, shear * 0.0 + 1.0
    ...         rows = [
    ...             [one, shear, shear * (-0.5 * (grid[0] - 1))],
    ...             [zero, one, zero],
    ...             [zero, zero, one],
    ...         ]
    ...         return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    >>> shear = Shear(0.2)
    >>> parameters = shear.draw(np.ones(1, "float32"), (5, 4), scn_keras.warp.NUMPY)
    >>> shear.affine(parameters, (5, 4), None, None, scn_keras.warp.NUMPY).round(1)
    array([[ 1. ,  0.2, -0.4],
           [ 0. ,  1. ,  0. ],
           [ 0. ,  0. ,  1. ]], dtype=float32)
    """

    def affine(
        self,
        parameters: Mapping[str, Any],
        grid: Sequence[int],
        spacing: Any,
        size: Any,
        xp: Any,
    ) -> Any | None:
        """Returns the map from the grid after this transform to the grid before it.

        It maps pixels of the grid to their positions before the transform, and is
        therefore the inverse of the motion of the image.

        Args:
            parameters: Mapping, the result of `draw`.
            grid: Sequence of D ints, the sizes of the grid in array order.
            spacing: float32 array `(..., D)`, x, y(, z) mm per pixel of the grid;
                `None` for a spacing of 1 mm.
            size: float32 array `(..., D)`, the size of the whole image in x, y(, z) in
                pixels of the grid; `None` if it is unknown.
            xp: The array namespace.

        Returns:
            float32 array `(..., D + 1, D + 1)` in pixels of the grid, x, y(, z); `None`
            for a transform without an affine part.
        """
        return None

    def displacements(
        self, parameters: Mapping[str, Any], grid: Sequence[int], spacing: Any, xp: Any
    ) -> Any | None:
        """Returns the displacements of the control points of a cubic B-spline.

        Displacements of several transforms are added and must have the same number of
        control points. Their sum is then limited so that the map cannot fold.

        Args:
            parameters, grid, spacing, xp: See `affine`.

        Returns:
            float32 array `(..., D, *n)`, x, y(, z) in pixels of the grid, for n control
            points per axis (array order), see `scn_keras.warp.sampling_grid`; `None`
            for a transform without an elastic part.
        """
        return None
