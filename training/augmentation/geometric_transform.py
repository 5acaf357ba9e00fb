from collections.abc import Mapping, Sequence
from typing import Any

from scn_keras.training.augmentation.transform import Transform


class GeometricTransform(Transform):
    """A transform that moves the image on the grid, and its points with it.

    It returns an affine, displacements of control points, or both. All transforms
    compose into one map from the grid to the image, `A (p + d(p))` (`scn_keras.warp`),
    through which the image is interpolated once, and points go through the exact
    inverse. A map that mirrors the image is for `Flip` alone, with which landmarks
    change places with their partners.

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

        The inverse of how the image moves: where the pixels of the grid come from.

        Args:
            parameters: Mapping, the result of `draw`.
            grid: The sizes of the grid in array order.
            spacing: float32 array `(..., D)`, x, y(, z) mm per pixel of the grid;
                `None` for pixels of one millimetre.
            size: float32 array `(..., D)`, the size of the whole image in x, y(, z) in
                pixels of the grid; `None` where it is not known.
            xp: The library.

        Returns:
            float32 array `(..., D + 1, D + 1)` in pixels of the grid, x, y(, z); `None`
            for a transform without an affine part.
        """
        return None

    def displacements(
        self, parameters: Mapping[str, Any], grid: Sequence[int], spacing: Any, xp: Any
    ) -> Any | None:
        """Returns the displacements of the control points of a cubic B-spline.

        Displacements of several transforms add up, so they must have the same number of
        control points. The sum is then limited to where the map cannot fold.

        Args:
            parameters, grid, spacing, xp: See `affine`.

        Returns:
            float32 array `(..., D, *n)`, x, y(, z) in pixels of the grid, of n control
            points an axis (array order), see `scn_keras.warp.sampling_grid`; `None`
            for a transform without an elastic part.
        """
        return None
