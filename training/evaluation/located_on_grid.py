"""Predicted and true points of images in pixels of the network's grid."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.console
from rich import progress

from scn_keras.array_api import NUMPY
from scn_keras.geometry import (
    apply_affine,
    apply_to_covariance,
    has_usable_spacing,
    invert_affine,
)
from scn_keras.inference.locator import Locator
from scn_keras.training.evaluation.evaluated_images import EvaluatedImages
from scn_keras.training.recipe import Recipe


def located_on_grid(
    recipe: Recipe,
    locator: Locator,
    splits: Sequence[EvaluatedImages],
    console: rich.console.Console,
) -> Iterator[dict[str, Any]]:
    """Yields the predicted and true points of images, in pixels of the grid.

    Args:
        recipe: `Recipe` of the locator's run.
        locator: `Locator`.
        splits: Sequence of images.
        console: `rich.console.Console` for the progress bar.

    Yields:
        Dict of the fields of `HeldOutImages` without `fold`, for one image, and `id`,
        `group` and `usable`, whether `grid_to_space` is in mm.
    """
    truth = trained_truth(recipe)
    samples = [split.samples() for split in splits]
    all_samples = functools.reduce(lambda a, b: a.concatenate(b), samples)
    located = progress.track(
        locator.locate(all_samples),
        f"locate images with {recipe.name}",
        total=sum(int(part.cardinality()) for part in samples),
        console=console,
    )
    for outputs in located:
        to_source = outputs["grid_to_source"].astype(np.float64)
        to_grid = invert_affine(to_source)
        usable = bool(has_usable_spacing(outputs["affine"], NUMPY))
        yield {
            "id": outputs["id"].decode(),
            "group": outputs["group"].decode(),
            "usable": usable,
            "points": apply_affine(to_grid, outputs["points_px"]),
            "score": outputs["score"],
            "covariance": apply_to_covariance(to_grid, outputs["covariance_px2"]),
            "truth": apply_affine(to_grid, splits[0].true_points(outputs, truth)),
            "grid_to_space": outputs["affine"] @ to_source if usable else to_source,
        }


def trained_truth(recipe: Recipe) -> str | None:
    """Returns the truth with which a model of a recipe is compared."""
    return "mean" if recipe.observer == "random" else recipe.observer
