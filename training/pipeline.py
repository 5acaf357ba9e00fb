"""Samples become batches on the network's grid."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from scn_keras.geometry import apply_affine
from scn_keras.training import preprocessing
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.recipe import Recipe

# Far more than a set of annotated radiographs has: every epoch is a permutation.
_SHUFFLE = 10_000


def observed_points(
    sample: Mapping[str, tf.Tensor], observer: str | None, draw: tf.Tensor | None = None
) -> tf.Tensor:
    """Chooses the points of a sample: its only ones, one observer's, or a mixture.

    Args:
        sample: Dict with `points`, or with `points_<observer>` for several.
        observer: `None` for `points`; the name of an observer; `"mean"`, missing
            where any observer lacks the landmark; `"random"`.
        draw: Scalar float from 0 to below 1 that decides what `"random"` gives.

    Raises:
        ValueError: If the sample has no such points.
    """
    prefix = "points_"
    observers = sorted(k[len(prefix) :] for k in sample if k.startswith(prefix))
    if observer is None and "points" in sample:
        return sample["points"]
    if observer in observers:
        return sample[prefix + observer]
    if observers and observer == "mean":
        return tf.reduce_mean(tf.stack([sample[prefix + o] for o in observers]), axis=0)
    if observers and observer == "random" and draw is not None:
        chosen = tf.cast(draw * len(observers), tf.int32)
        return tf.gather(tf.stack([sample[prefix + o] for o in observers]), chosen)
    known = [*observers, "mean", "random"] if observers else [None]
    raise ValueError(
        f"This data set has the observers {known}. Received: observer={observer!r}"
    )


def split_groups(
    groups: Iterable[str], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids (patients) into training and validation, by seed.

    Whole groups, never images: two films of one patient must not lie on both sides.
    """
    unique = sorted(set(groups))
    count = round(share * len(unique))
    if share > 0.0 and count == 0:
        raise ValueError(
            f"`validation` asks for {share:.0%} of {len(unique)} groups, which is "
            "none. Raise it, or set it to 0."
        )
    if 0 < count == len(unique):
        raise ValueError(
            f"`validation` asks for {share:.0%} of {len(unique)} groups, which leaves "
            "none to train on. Lower it."
        )
    held_out = set(random.Random(seed).sample(unique, count))
    return [g for g in unique if g not in held_out], sorted(held_out)


def of_groups(samples: tf.data.Dataset, groups: Iterable[str]) -> tf.data.Dataset:
    """Keeps the samples of the given groups."""
    wanted = tf.constant(sorted(groups))
    return samples.filter(lambda sample: tf.reduce_any(sample["group"] == wanted))


def training_batches(
    samples: tf.data.Dataset, recipe: Recipe, first_step: int = 0
) -> tf.data.Dataset:
    """Endless batches of `(image, {"points", "affine"})`, shuffled and augmented.

    Every image is decoded and reduced once and kept in memory. What a step draws
    depends on the recipe's seed, TensorFlow's global seed (which `fit` sets to the
    recipe's) and the number of the step alone, so a run that continues at
    `first_step` sees what it would have seen.

    Args:
        samples: Stored samples.
        recipe: `Recipe`.
        first_step: Int, the number of steps already taken.
    """
    options = tf.data.Options()
    options.deterministic = True

    def prepare(sample):
        return {
            **{k: v for k, v in sample.items() if k.startswith("points")},
            "affine": sample["affine"],
            "reduced": _reduce(sample, recipe),
        }

    def augment(number, sample):
        seed = tf.stack([tf.cast(recipe.seed, tf.int64), number])
        draw = tf.random.stateless_uniform(
            [], seed + tf.constant([0, 1 << 40], "int64")
        )
        points = observed_points(sample, recipe.observer, draw)
        augmentation = recipe.augmentation
        parameters = None if augmentation is None else augmentation.draw(seed)
        return grid_element(
            sample["reduced"], points, sample["affine"], recipe, parameters
        )

    prepared = samples.map(prepare, tf.data.AUTOTUNE).cache()
    return (
        prepared.shuffle(_SHUFFLE, seed=recipe.seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .skip(first_step * recipe.batch_size)
        .map(augment, tf.data.AUTOTUNE)
        .batch(recipe.batch_size, drop_remainder=True)
        .with_options(options)
        .prefetch(tf.data.AUTOTUNE)
    )


def evaluation_batches(
    samples: tf.data.Dataset, recipe: Recipe, batch_size: int | None = None
) -> tf.data.Dataset:
    """Batches of `(image, {"points", "affine"})` as they are, in order."""

    def element(sample):
        observer = "mean" if recipe.observer == "random" else recipe.observer
        points = observed_points(sample, observer)
        return grid_element(_reduce(sample, recipe), points, sample["affine"], recipe)

    return (
        samples.map(element, tf.data.AUTOTUNE)
        .batch(batch_size or recipe.batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def grid_element(
    reduced: preprocessing.ReducedImage,
    points: tf.Tensor,
    affine: tf.Tensor,
    recipe: Recipe,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Brings one sample to the grid, in one interpolation.

    Args:
        reduced: `ReducedImage`.
        points: float32 `(N, 2)`, in pixels of the source image.
        affine: float32 `(3, 3)`, from those to millimetres.
        recipe: `Recipe`.
        parameters: What `Augmentation.draw` drew, or `None`.

    Returns:
        `(image, {"points", "affine"})`, points in pixels of the grid, affine from
        them to millimetres.
    """
    to_source = reduced.grid_to_source
    if parameters is not None:
        to_source = to_source @ Augmentation.affine(parameters, recipe.grid)
    coordinates = preprocessing.grid_coordinates(
        preprocessing.to_reduced(reduced, to_source), recipe.grid
    )
    image = preprocessing.warp(reduced.image, coordinates)
    if parameters is not None:
        image = Augmentation.intensity(parameters, image)
    on_grid = apply_affine(tf.linalg.inv(to_source), points)
    return image, {"points": on_grid, "affine": affine @ to_source}


def _reduce(sample, recipe):
    return preprocessing.reduce_image(
        preprocessing.to_unit_range(sample["image"]),
        recipe.grid,
        preprocessing.aspect_of(sample["affine"]),
        recipe.normalization,
    )
