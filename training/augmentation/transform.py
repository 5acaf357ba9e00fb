import inspect
from collections.abc import Sequence
from typing import Any


class Transform:
    """A random change of training images, in two steps: draw, then apply.

    `draw` makes parameters of random numbers; the methods of `GeometricTransform` and
    `IntensityTransform` apply them without any randomness. Parameters can therefore be
    stored, looked at and applied again. The same parameters give the same result in
    NumPy, in a graph of `tf.data` and on batches on a device.

    All methods take the array library as `xp`, one of the namespaces of
    `scn_keras.array_api`, and use no other functions on arrays. Leading axes (`...`)
    are batches; a single image has none.

    Derive from one of the two subclasses. The arguments of the constructor are numbers,
    strings, Booleans or lists of them, and are kept in attributes of the same names, as
    in a frozen dataclass.
    """

    def count(self, dimensions: int) -> int:
        """Returns how many uniform random numbers one draw takes.

        Args:
            dimensions: Int, 2 for images, 3 for volumes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `count`.")

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        """Returns the parameters of one image, or of each image of a batch.

        Args:
            unit: float32 array `(..., count)`, uniform in [-1, 1].
            grid: The sizes of the grid in array order.
            xp: The library.
            seed: A seed of that library, for a transform that needs more random numbers
                than `unit` holds: `xp.normal(seed, shape)`, `xp.uniform(seed, shape)`.

        Returns:
            Dict of float32 arrays `(..., *any)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, ready for JSON.

        Raises:
            ValueError: If an argument is not kept in an attribute of its name.
        """
        names = [
            p.name
            for p in inspect.signature(type(self)).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        for name in names:
            if not hasattr(self, name):
                raise ValueError(
                    f"The transform {type(self).__name__} must keep its argument "
                    f"`{name}` in an attribute of that name, or define `get_config`."
                )
        return {name: getattr(self, name) for name in names}
