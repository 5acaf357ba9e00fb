"""Validation of a recipe's settings when it is created.

A misspelt name or a wrong size therefore raises an error before a run is created.
"""

from typing import TYPE_CHECKING

from scn_keras.training._part_classes import require_built_in
from scn_keras.training.recipe_settings import Network

if TYPE_CHECKING:
    from scn_keras.training.recipe import Recipe

PEAKS = (
    *("argmax", "parabola", "log_parabola", "dark", "centroid", "soft_argmax"),
    *("gaussian_fit", "votes"),
)
_FORMS = ("isotropic", "axis_aligned", "rotated")


def check_settings(recipe: "Recipe") -> None:
    """Validates the settings that a recipe can validate without its data.

    Raises:
        ValueError: If values are out of range or do not match.
    """
    _check_choices(recipe)
    _check_numbers(recipe)
    require_built_in(recipe.loss, "loss")
    require_built_in(recipe.optimizer.name, "optimizer.name")
    require_built_in(recipe.optimizer.schedule, "optimizer.schedule")
    for callback in recipe.callbacks:
        require_built_in(callback.name, "callbacks")
    if recipe.method == "network":
        _check_sizes(recipe)
        _check_votes(recipe)


def _check_choices(recipe: "Recipe") -> None:
    choices: list[tuple[str, str, tuple[str, ...]]] = [
        ("target.form", recipe.target.form, _FORMS),
        ("target.missing", recipe.target.missing, ("mask", "zero")),
        ("cache", recipe.cache, ("memory", "disk")),
    ]
    if isinstance(recipe.jit_compile, str):
        choices.append(("jit_compile", recipe.jit_compile, ("auto",)))
    if ":" not in recipe.peak:
        choices.append(("peak", recipe.peak, PEAKS))
    for key, value, known in choices:
        if value not in known:
            names = ", ".join(known)
            names = "True, False, auto" if key == "jit_compile" else names
            raise ValueError(
                f"`{key}` must be one of {names}. Received: {key}={value!r}"
            )


def _check_numbers(recipe: "Recipe") -> None:
    for key in ("batch_size", "steps", "steps_per_epoch"):
        if getattr(recipe, key) < 1:
            raise ValueError(
                f"`{key}` must be at least 1. Received: {key}={getattr(recipe, key)}"
            )
    if not 0 <= recipe.seed < 2**32:
        raise ValueError(
            "`seed` must be from 0 to 2**32 - 1, as for NumPy. "
            f"Received: seed={recipe.seed}"
        )
    if recipe.fold is not None and not 0 <= recipe.fold[0] < recipe.fold[1] >= 2:
        raise ValueError(
            "`fold` must be (k, n) for the k-th of n parts, with k from 0 to n - 1 "
            f"and n at least 2. Received: fold={recipe.fold}"
        )
    if not 0.0 <= recipe.validation < 1.0:
        raise ValueError(
            "`validation` must be a fraction from 0 to below 1. "
            f"Received: validation={recipe.validation}"
        )


def _check_sizes(recipe: "Recipe") -> None:
    """Validates that the sizes of the grid are divisible for a built-in network."""
    levels, spatial = size_factors(recipe.network)
    if any(size % factor for size in recipe.grid for factor in (levels, spatial)):
        raise ValueError(
            "`image_to_grid.grid` must be (rows, columns) or (slices, rows, columns), "
            f"each a multiple of {levels} (the network's levels) and {spatial} (its "
            f"spatial factor). Received: grid={recipe.grid}"
        )
    window = recipe.window
    if window is not None and (
        len(window) != len(recipe.grid)
        or any(
            size < 1 or size > whole or size % factor
            for size, whole in zip(window, recipe.grid, strict=True)
            for factor in (levels, spatial)
        )
    ):
        raise ValueError(
            f"`window` must have {len(recipe.grid)} sizes, each at most that of the "
            f"grid and a multiple of {levels} and {spatial}. "
            f"Received: window={window}, grid={recipe.grid}"
        )


def size_factors(network: Network) -> tuple[int, int]:
    """Returns the divisors of the image sizes that a built-in network accepts.

    They are `(1, 1)` for networks of other packages, which validate sizes themselves.
    """
    if ":" in network.kind:
        return 1, 1
    arguments = network.arguments
    stride = arguments.get("stride", 1)
    levels = stride * 2 ** (arguments.get("levels", 1) - 1)
    spatial = stride * arguments.get("spatial_factor", 1)
    if "reductions" in arguments:
        return 2 ** arguments["reductions"], 1
    if network.kind == "scn_verse2020":  # the second U-Net follows the first one
        return levels, levels * spatial
    return levels, spatial


def _check_votes(recipe: "Recipe") -> None:
    """Validates that network, loss and peak are all for votes or all for heatmaps."""
    if ":" in recipe.network.kind:
        return  # `LandmarkModel` validates the outputs of the network
    votes = recipe.network.kind == "GlobalNet"
    if (recipe.loss == "patches", recipe.peak == "votes") != (votes, votes):
        raise ValueError(
            'The network GlobalNet requires the loss "patches" and the peak "votes", '
            "which no other network accepts. Received: "
            f"network.kind={recipe.network.kind!r}, loss={recipe.loss!r}, "
            f"peak={recipe.peak!r}"
        )
