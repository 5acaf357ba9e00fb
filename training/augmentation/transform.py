import inspect
from collections.abc import Sequence
from typing import Any


class Transform:
    """Base class of random transforms of training images.

    A transform has two steps. `draw` creates parameters from random numbers. The
    methods of `GeometricTransform` and `IntensityTransform` apply them and use no
    random numbers. Parameters can therefore be stored, inspected and applied again. The
    same parameters give the same result in NumPy, in a `tf.data` graph and on batches
    on a device.

    All methods take an array namespace `xp`, see `scn_keras.array_api`, and use no
    other functions on arrays. Leading axes (`...`) are batch axes; a single image has
    none.

    Derive from one of the two subclasses. Constructor arguments must be numbers,
    strings, Booleans or lists of them, and must be kept in attributes of the same
    names, as in a frozen dataclass.
    """

    def count(self, dimensions: int) -> int:
        """Returns the number of uniform random numbers that `draw` uses for one image.

        Args:
            dimensions: Int, 2 for 2D images, 3 for volumes.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `count`.")

    def draw(
        self, unit: Any, grid: Sequence[int], xp: Any, seed: Any = None
    ) -> dict[str, Any]:
        """Returns the parameters of one image, or of each image of a batch.

        Args:
            unit: float32 array `(..., count)`, uniform in [-1, 1].
            grid: Sequence of D ints, the sizes of the grid in array order.
            xp: The array namespace.
            seed: A seed for `xp`, for transforms that need more random numbers than
                `unit` contains: `xp.normal(seed, shape)`, `xp.uniform(seed, shape)`.

        Returns:
            Dict of float32 arrays `(..., *shape)`, each with its own `shape`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `draw`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, which must be values for JSON.

        Raises:
            ValueError: If an argument is not kept in an attribute of the same name.
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
