"""Placement of the fine network's grid in stored samples, for coarse to fine."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.alignment import mean_shape
from scn_keras.array_api import NUMPY, TENSORFLOW
from scn_keras.geometry import apply_affine
from scn_keras.inference.coarse_to_fine import CoarseToFine, affine_or_pixels
from scn_keras.training.input.selection import mirror_pairs, observed_points
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run, write_json


def place_samples(
    run: Run, training: tf.data.Dataset, validation: tf.data.Dataset | None
) -> tuple[tf.data.Dataset, tf.data.Dataset | None]:
    """Places the samples of a run whose coarse stage has been trained.

    An entry `grid_to_source`, which the pipeline and `Locator.locate` use, is added to
    the samples. Training samples are placed by their true points, validation samples by
    the points of the coarse stage, as in inference. The mean shape of the training
    samples is written to the run.
    """
    if not run.shape_path.is_file():
        pairs = mirror_pairs(run.recipe, run.schema)
        shape = mean_shape_of(training.as_numpy_iterator(), run.recipe, pairs)
        rows = np.where(np.isnan(shape), np.array(None), shape)
        write_json(run.shape_path, rows.tolist())
    if validation is not None:
        validation = run.coarse_to_fine().place_by_coarse(validation)
    by_truth = CoarseToFine(run.recipe.image_to_grid, run.mean_shape)
    return place_by_truth(by_truth, training, run.recipe), validation


def place_by_truth(
    coarse_to_fine: CoarseToFine, samples: tf.data.Dataset, recipe: Recipe
) -> tf.data.Dataset:
    """Places stored samples by the true points of a recipe."""
    points_of = functools.partial(true_points, recipe=recipe, xp=TENSORFLOW)
    return coarse_to_fine.place_by_truth(samples, points_of)


def mean_shape_of(
    samples: Iterable[Mapping[str, Any]],
    recipe: Recipe,
    pairs: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Returns the mean shape of stored samples in mm, see `alignment.mean_shape`.

    If the recipe mirrors images, it is symmetric, with the plane of symmetry across x,
    along which they are mirrored.
    """
    shapes = [
        apply_affine(affine_or_pixels(sample["affine"]), true_points(sample, recipe))
        for sample in samples
    ]
    mirrors = recipe.augmentation is not None and recipe.augmentation.flip > 0.0
    return mean_shape(shapes, pairs if mirrors else ())


def true_points(sample: Mapping[str, Any], recipe: Recipe, xp: Any = NUMPY) -> Any:
    """Returns the true points of a sample for the observer of a recipe.

    For the observer `"random"`, they are the mean of all observers.
    """
    observer = "mean" if recipe.observer == "random" else recipe.observer
    return observed_points(sample, observer, xp=xp)
