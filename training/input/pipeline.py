"""Samples become batches on the network's grid."""

import atexit
import functools
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from scn_keras.array_api import TENSORFLOW
from scn_keras.geometry import usable_spacing
from scn_keras.inference import decode, resample
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.input.on_grid import (
    ReducedImage,
    image_on_grid,
    on_grid,
    part_of_grid,
    places_of,
)
from scn_keras.training.input.selection import mirror_pairs, observed_points
from scn_keras.training.recipe import Recipe

# Far more than a set of annotated radiographs has: every epoch is a permutation.
_SHUFFLE = 10_000


def of_groups(samples: tf.data.Dataset, groups: Iterable[str]) -> tf.data.Dataset:
    """Keeps the samples of the given groups."""
    wanted = tf.constant(sorted(groups))
    return samples.filter(lambda sample: tf.reduce_any(sample["group"] == wanted))


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
    batches = (
        kept.shuffle(_SHUFFLE, seed=recipe.seed, reshuffle_each_iteration=True)
        .repeat()
        .enumerate()
        .skip(first_step * recipe.batch_size)
        .map(
            lambda number, element: augment(read(element), number, recipe, pairs),
            tf.data.AUTOTUNE,
        )
        .batch(recipe.batch_size, drop_remainder=True)
    )
    if recipe.window is not None:
        batches = batches.enumerate(first_step).map(
            lambda step, batch: _part(batch, step, recipe), tf.data.AUTOTUNE
        )
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _part(batch, step, recipe):
    """What the window of a recipe shows at a step."""
    seed = tf.stack([tf.cast(recipe.seed, tf.int64), step + (1 << 41)])
    places = places_of(recipe.window, recipe.grid).astype("int32")
    share = tf.random.stateless_uniform([len(places)], seed)
    start = tf.cast(share * tf.cast(places, tf.float32), tf.int32)
    image, labels = part_of_grid(batch, start, recipe.window, TENSORFLOW)
    return tf.ensure_shape(image, (None, *recipe.window, 1)), labels


def prepare(sample: Mapping[str, tf.Tensor], recipe: Recipe) -> dict[str, Any]:
    """Does what is done once an image: a stored sample becomes what `augment` takes."""
    reduced = reduce_sample(sample, recipe)
    flat, sizes = resample.flatten(reduced.image)
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
    points = observed_points(prepared, recipe.observer, draw, TENSORFLOW)
    drawn, code = None, ()
    if recipe.augmentation is not None:
        drawn = recipe.augmentation.draw(seed, recipe.grid, TENSORFLOW)
        code = recipe.augmentation.code()
    return on_grid(
        prepared["reduced"],
        prepared["sizes"],
        prepared["affine"],
        points,
        recipe,
        drawn,
        pairs,
        TENSORFLOW,
        functools.partial(_compiled_image, code=code),
    )


def evaluation_batches(
    samples: tf.data.Dataset, recipe: Recipe, batch_size: int | None = None
) -> tf.data.Dataset:
    """Batches of `(image, {"points", "affine"})` as they are, in order."""

    def element(sample):
        observer = "mean" if recipe.observer == "random" else recipe.observer
        points = observed_points(sample, observer, xp=TENSORFLOW)
        return grid_element(
            reduce_sample(sample, recipe), points, sample["affine"], recipe
        )

    return (
        samples.map(element, tf.data.AUTOTUNE)
        .batch(batch_size or recipe.batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def grid_element(
    reduced: ReducedImage,
    points: tf.Tensor,
    affine: tf.Tensor,
    recipe: Recipe,
    drawn: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[int, int]] = (),
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Brings one sample to the grid, see `on_grid`.

    Args:
        reduced: `ReducedImage`.
        points: float32 `(N, D)`, in pixels of the source image.
        affine: float32 `(D + 1, D + 1)`, from those to millimetres.
        recipe: `Recipe`.
        drawn: What `recipe.augmentation.draw` drew, or `None`.
        pairs: Pairs of landmarks that change places in a mirror image.
    """
    flat, sizes = resample.flatten(reduced.image)
    return on_grid(
        reduced._replace(image=flat),
        sizes,
        affine,
        points,
        recipe,
        drawn,
        pairs,
        TENSORFLOW,
    )


# Some thirty passes over the grid become one, which takes a third of the time.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _compiled_image(flat, sizes, affine, elastic, drawn, grid, augmentation, code):
    # A function that has been edited in a notebook has its old name: the code itself is
    # an argument, so that it is compiled anew.
    del code
    return image_on_grid(
        flat, sizes, affine, elastic, drawn, grid, augmentation, TENSORFLOW
    )


def reduce_sample(sample: Mapping[str, tf.Tensor], recipe: Recipe) -> ReducedImage:
    """Reduces the image of a stored sample for the grid of a recipe.

    The grid lies where an entry `grid_to_source` of the sample places it, see
    `CoarseToFine`.
    """
    image_to_grid = recipe.image_to_grid
    reduced = resample.reduce_image(
        decode.grey_values(sample["image"], image_to_grid.normalization),
        image_to_grid,
        usable_spacing(sample["affine"], TENSORFLOW),
    )
    if "grid_to_source" in sample:
        reduced = reduced._replace(grid_to_source=sample["grid_to_source"])
    return reduced


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
