import dataclasses
from typing import Any

from scn_keras.training._ranges import (
    ABOVE_0,
    AT_LEAST_0,
    BELOW_1,
    FRACTION,
    Ranges,
    require_ranges,
)

_REFINEMENT_RANGES: Ranges = {
    "size": ABOVE_0,
    "filters": ABOVE_0,
    "convolutions": ABOVE_0,
    "scales": ABOVE_0,
    "looks": ABOVE_0,
    "jitter": AT_LEAST_0,
    "weight": FRACTION,
    "dropout": BELOW_1,
}
# The settings of `PyramidRefinement` only, with its defaults, so that a stored recipe
# contains all values.
PYRAMID_DEFAULTS: dict[str, int | float] = {
    "looks": 1,
    "jitter": 3.0,
    "weight": 1.0,
    "dropout": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Refinement:
    """The arguments of the local networks of a recipe.

    Without `scales`, they are those of `LocalRefinement`, one network for each landmark
    in a small sub-image. With `scales`, they are those of `PyramidRefinement`, one
    network for all landmarks that looks at several scales around each point; it has
    further settings, for which `None` is replaced by its default.

    Local networks are trained in the precision of the network.

    Args:
        size: Int, even, the size of a sub-image along each axis in pixels of the grid.
            It should be a few times the error of the points to be refined. With
            `scales`, the size of the finest one and a multiple of 8.
        filters: Int, the number of filters before the pooling; after it, there are
            twice as many. With `scales`, that of all convolutions.
        convolutions: Int, the number of convolutions before the pooling. With `scales`,
            that of each scale.
        frozen: Bool, whether the network of the recipe is not trained. It is then taken
            from the run or preset in `start`, and training steps do not compute it.
        scales: Int or `None`, the number of scales. The coarsest sub-image is
            `size * 2 ** (scales - 1)` pixels wide.
        looks: Int or `None`, the number of looks in inference.
        jitter: Float or `None`, the typical distance of a sub-image from the true point
            along each axis in training, in pixels of the grid.
        weight: Float from 0 to 1 or `None`, the share of the predicted displacement
            that is applied in inference.
        dropout: Float or `None`, the share of features dropped in training.
        border: Str, `"replicate"` or `"inside"`, see `LocalRefinement`. With `scales`,
            it must be `"replicate"`.

    Raises:
        ValueError: If a number is out of its range, or a setting of
            `PyramidRefinement` is given without `scales`.
    """

    size: int = 16
    filters: int = 32
    convolutions: int = 4
    frozen: bool = False
    scales: int | None = None
    looks: int | None = None
    jitter: float | None = None
    weight: float | None = None
    dropout: float | None = None
    border: str = "replicate"

    def __post_init__(self) -> None:
        unused = [
            name
            for name in PYRAMID_DEFAULTS
            if self.scales is None and getattr(self, name) is not None
        ]
        if unused:
            raise ValueError(
                f"`local.{unused[0]}` requires several scales. Set `local.scales`. "
                f"Received: local.scales=None, local.{unused[0]}="
                f"{getattr(self, unused[0])!r}"
            )
        borders = ("replicate", "inside")
        if self.border not in borders[: 1 if self.scales is not None else 2]:
            raise ValueError(
                "`local.border` must be 'replicate' or, without `local.scales`, "
                f"'inside'. Received: local.border={self.border!r}, "
                f"local.scales={self.scales}"
            )
        if self.scales is not None:
            for name, value in PYRAMID_DEFAULTS.items():
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        require_ranges(self, "local", _REFINEMENT_RANGES, ("scales", *PYRAMID_DEFAULTS))

    def layer_arguments(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        values = dataclasses.asdict(self)
        values.pop("frozen")
        if self.border == "replicate":  # which `PyramidRefinement` always does
            values.pop("border")
        return {name: value for name, value in values.items() if value is not None}
