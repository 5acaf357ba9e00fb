"""Peak layers whose arguments are fitted to the training points."""

import dataclasses
import inspect
from typing import Any

import numpy as np

from scn_keras._references import checked_arguments
from scn_keras.models._heatmap_stride import to_heatmaps
from scn_keras.training._part_classes import find_class
from scn_keras.training.build import build_network
from scn_keras.training.recipe import Recipe


def with_fitted_peak(recipe: Recipe, source: Any) -> Recipe:
    """Returns a recipe with the arguments of its peak layer.

    They are fitted to the training points if the class has a class method
    `from_points`, as `PictorialStructures`, and the recipe omits required arguments.

    Args:
        recipe: `Recipe`.
        source: `Source` of the images.

    Raises:
        ValueError: If the class does not accept the arguments or the points.
    """
    if not _is_fitted(recipe):
        return recipe
    points = [np.asarray(y["points"], "float64") for _, y in source.plain()]
    network = build_network(recipe, len(source.schema))
    return _fitted(recipe, to_heatmaps(np.concatenate(points), network))


def with_trial_peak(recipe: Recipe, num_landmarks: int) -> Recipe:
    """Returns a recipe whose peak layer, if it can be fitted, is fitted to made points.

    For models of any number of landmarks whose points are not used.
    """
    if not _can_be_fitted(recipe):
        return recipe
    required = _required(find_class(recipe.peak, "peak"))
    given = recipe.peak_settings.items()
    settings = {name: value for name, value in given if name not in required}
    recipe = dataclasses.replace(recipe, peak_settings=settings)
    shape = (2, num_landmarks, len(recipe.grid))
    return _fitted(recipe, np.zeros(shape))


def _is_fitted(recipe):
    return _can_be_fitted(recipe) and not (
        set(recipe.peak_settings) >= _required(find_class(recipe.peak, "peak"))
    )


def _can_be_fitted(recipe):
    if not recipe.uses_network or ":" not in recipe.peak:
        return False
    return hasattr(find_class(recipe.peak, "peak"), "from_points")


def _required(function):
    return {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


def _fitted(recipe, points):
    function, settings = find_class(recipe.peak, "peak"), recipe.peak_settings
    fitted = sorted(_required(function) & set(settings))
    if fitted:
        raise ValueError(
            f"`peak_settings` must contain all or none of "
            f"{', '.join(sorted(_required(function)))}, which are fitted to the "
            f"training points otherwise. Received: {', '.join(fitted)}"
        )
    own = inspect.signature(function.from_points).parameters
    named = {name: value for name, value in settings.items() if name not in own}
    every = dict.fromkeys(_required(function))
    checked_arguments(function, {**every, **named}, "peak_settings", named_only=True)
    config = function.from_points(points, **settings).get_config()
    names = [name for name in inspect.signature(function).parameters if name in config]
    return dataclasses.replace(
        recipe, peak_settings={name: config[name] for name in names}
    )
