"""Samples become batches on the network's grid."""

import atexit
import pathlib
import random
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras import warp
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training import preprocessing
from scn_keras.training.augmentation import swap_pairs
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


def fold_groups(
    groups: Iterable[str], fold: tuple[int, int], seed: int
) -> tuple[list[str], list[str]]:
    """Splits group ids into those outside and those inside the k-th of n parts.

    The parts are equal up to one group; together they are all groups, each once.
    """
    part, count = fold
    unique = sorted(set(groups))
    if len(unique) < count:
        raise ValueError(
            f"`fold` asks for {count} parts of {len(unique)} groups. Received: "
            f"fold={fold}"
        )
    held_out = set(random.Random(seed).sample(unique, len(unique))[part::count])
    return [g for g in unique if g not in held_out], sorted(held_out)


def of_groups(samples: tf.data.Dataset, groups: Iterable[str]) -> tf.data.Dataset:
    """Keeps the samples of the given groups."""
    wanted = tf.constant(sorted(groups))
    return samples.filter(lambda sample: tf.reduce_any(sample["group"] == wanted))


def mirror_pairs(
    recipe: Recipe, schema: LandmarkSchema | None
) -> tuple[tuple[int, int], ...]:
    """Returns the landmarks that change places in a mirror image.

    Raises:
        ValueError: If the recipe mirrors images and there are no pairs.
    """
    pairs = () if schema is None else schema.pairs
    if recipe.augmentation is not None and recipe.augmentation.flip and not pairs:
        raise ValueError(
            "The recipe mirrors images, but the schema of the data set names no "
            "landmarks that change places then (`pairs`). Set augmentation.flip=0."
        )
    return pairs


def training_batches(
    samples: tf.data.Dataset,
    recipe: Recipe,
    first_step: int = 0,
    schema: LandmarkSchema | None = None,
) -> tf.data.Dataset:
    """Endless batches of `(image, {"points", "affine"})`, shuffled and augmented.

    Every image is decoded and reduced once and kept, in memory or on disk. What a
    step draws depends on the recipe's seed, TensorFlow's global seed (which `fit`
    sets to the recipe's) and the number of the step alone, so a run that continues
    at `first_step` sees what it would have seen.

    Args:
        samples: Stored samples.
        recipe: `Recipe`.
        first_step: Int, the number of steps already taken.
        schema: `LandmarkSchema`, whose pairs a recipe that mirrors images needs.

    Raises:
        ValueError: If the recipe mirrors images and there are no pairs.
    """
    pairs = mirror_pairs(recipe, schema)
    options = tf.data.Options()
    options.deterministic = True
    kept, read = _KEEP[recipe.cache](
        samples.map(lambda sample: prepare(sample, recipe), tf.data.AUTOTUNE)
    )
    return (
        kept.shuffle(_SHUFFLE, seed=recipe.seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .skip(first_step * recipe.batch_size)
        .map(
            lambda number, element: augment(read(element), number, recipe, pairs),
            tf.data.AUTOTUNE,
        )
        .batch(recipe.batch_size, drop_remainder=True)
        .with_options(options)
        .prefetch(tf.data.AUTOTUNE)
    )


def prepare(sample: Mapping[str, tf.Tensor], recipe: Recipe) -> dict[str, Any]:
    """Does what is done once an image: a stored sample becomes what `augment` takes."""
    reduced = _reduce(sample, recipe)
    flat, sizes = preprocessing.flatten(reduced.image)
    return {
        **{name: value for name, value in sample.items() if name.startswith("points")},
        "affine": sample["affine"],
        "reduced": reduced._replace(image=flat),
        "sizes": sizes,
    }


def augment(
    prepared: Mapping[str, Any],
    number: tf.Tensor,
    recipe: Recipe,
    pairs: Sequence[tuple[int, int]] = (),
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Does what is done anew each time: returns a training element.

    Args:
        prepared: What `prepare` returned.
        number: Scalar int64; with the recipe's seed it decides what is drawn.
        recipe: `Recipe`.
        pairs: Pairs of landmarks that change places in a mirror image.
    """
    seed = tf.stack([tf.cast(recipe.seed, tf.int64), number])
    draw = tf.random.stateless_uniform([], seed + tf.constant([0, 1 << 40], "int64"))
    points = observed_points(prepared, recipe.observer, draw)
    parameters = None
    if recipe.augmentation is not None:
        parameters = recipe.augmentation.draw(
            seed, recipe.grid, preprocessing.TENSORFLOW
        )
    return _on_grid(prepared, points, recipe, parameters, pairs, _compiled_image)


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
    pairs: Sequence[tuple[int, int]] = (),
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Brings one sample to the grid, in one interpolation.

    Args:
        reduced: `ReducedImage`.
        points: float32 `(N, D)`, in pixels of the source image.
        affine: float32 `(D + 1, D + 1)`, from those to millimetres.
        recipe: `Recipe`.
        parameters: What `recipe.augmentation.draw` drew, or `None`.
        pairs: Pairs of landmarks that change places in a mirror image.

    Returns:
        `(image, {"points", "affine"})`, points in pixels of the grid, affine from
        them to millimetres (without the elastic part, which is no affine).
    """
    flat, sizes = preprocessing.flatten(reduced.image)
    reduced = reduced._replace(image=flat)
    prepared = {"affine": affine, "reduced": reduced, "sizes": sizes}
    return _on_grid(prepared, points, recipe, parameters, pairs, _image)


def _on_grid(prepared, points, recipe, drawn, pairs, image_of):
    arrays, grid = preprocessing.TENSORFLOW, recipe.grid
    reduced, affine = prepared["reduced"], prepared["affine"]
    to_source, elastic = reduced.grid_to_source, None
    if drawn is not None:
        augmentation = recipe.augmentation
        scale = tf.linalg.diag_part(to_source)[:-1]
        spacing = preprocessing.aspect_of(affine) * scale
        to_source = to_source @ augmentation.affine(
            drawn, grid, spacing, reduced.size / scale, arrays
        )
        elastic = augmentation.elastic_displacements(drawn, grid, spacing, arrays)
    to_reduced = preprocessing.to_reduced(reduced, to_source)
    image = image_of(
        reduced.image,
        prepared["sizes"],
        to_reduced,
        elastic,
        drawn,
        grid,
        recipe.augmentation,
    )
    on_grid = warp.invert_map(to_source, points, grid, elastic, arrays)
    if drawn is not None and "flip" in drawn:
        on_grid = swap_pairs(on_grid, drawn["flip"], pairs, arrays)
    return image, {"points": on_grid, "affine": affine @ to_source}


def _image(flat, sizes, affine, elastic, drawn, grid, augmentation):
    arrays = preprocessing.TENSORFLOW
    places = warp.lattice(affine, grid, elastic, arrays)
    image = warp.interpolate(flat, places, arrays, sizes)
    if drawn is not None:
        image = augmentation.intensity(drawn, image, arrays)
    return image[..., None]


# Some thirty passes over the grid become one, which takes a third of the time.
_compiled_image = tf.function(_image, jit_compile=True, autograph=False)


def _reduce(sample, recipe):
    return preprocessing.reduce_image(
        preprocessing.grey_values(sample["image"], recipe.normalization),
        recipe.grid,
        preprocessing.spacing_of(sample["affine"]),
        recipe.normalization,
        recipe.normalization_limits,
        recipe.grid_spacing,
    )


def _in_memory(elements):
    return elements.cache(), lambda element: element


def _on_disk(elements):
    """Writes each element to a file of its own, to be read in any order.

    Those of `tf.data`'s own cache can be read in one order only, and shuffling them
    would hold them in memory.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="scn_keras_cache_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    spec = elements.element_spec

    def path_of(number, leaf):
        return tf.strings.join([str(folder), "/", tf.strings.as_string(number), leaf])

    def write(number, element):
        for leaf, value in enumerate(tf.nest.flatten(element)):
            tf.io.write_file(path_of(number, f".{leaf}"), tf.io.serialize_tensor(value))
        return number

    def read(number):
        leaves = [
            tf.ensure_shape(
                tf.io.parse_tensor(
                    tf.io.read_file(path_of(number, f".{leaf}")), s.dtype
                ),
                s.shape,
            )
            for leaf, s in enumerate(tf.nest.flatten(spec))
        ]
        return tf.nest.pack_sequence_as(spec, leaves)

    written = elements.enumerate().map(write, tf.data.AUTOTUNE)
    count = written.reduce(np.int64(0), lambda total, _: total + 1)
    return tf.data.Dataset.range(count), read


_KEEP = {"memory": _in_memory, "disk": _on_disk}
