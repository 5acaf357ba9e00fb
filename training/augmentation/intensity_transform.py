from collections.abc import Mapping
from typing import Any

from scn_keras.training.augmentation.transform import Transform


class IntensityTransform(Transform):
    """Base class of transforms of grey values.

    Example:

    >>> from scn_keras.training.augmentation import IntensityTransform
    >>> class Fog(IntensityTransform):
    ...     def __init__(self, strength):
    ...         self.strength = strength
    ...
    ...     def count(self, dimensions):
    ...         return 1
    ...
    ...     def draw(self, unit, grid, xp, seed=None):
    ...         return {"share": (unit[..., 0] + 1.0) * (0.5 * self.strength)}
    ...
    ...     def apply(self, image, parameters, xp):
    ...         share = parameters["share"]
    ...         d = len(image.shape) - len(share.shape)
    ...         share = scn_keras.warp.add_axes(share, d)
    ...         return image * (1.0 - share) + share
    >>> fog = Fog(0.5)
    >>> parameters = fog.draw(np.ones(1, "float32"), (1, 2), scn_keras.warp.NUMPY)
    >>> image = np.array([[-1.0, 0.5]], "float32")
    >>> fog.apply(image, parameters, scn_keras.warp.NUMPY)
    array([[0.  , 0.75]], dtype=float32)
    """

    def apply(self, image: Any, parameters: Mapping[str, Any], xp: Any) -> Any:
        """Returns the transformed image, of the same shape and dtype.

        Args:
            image: float32 array `(..., *grid)`. Before the augmentation, grey values
                are from -1 to 1.
            parameters: Mapping, the result of `draw`.
            xp: The array namespace.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `apply`.")
