"""The `tf.data` pipeline from stored samples to batches on the network's grid."""

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

# The size of the shuffle buffer. It exceeds that of sets of annotated images, so that
# every epoch is a permutation.
_SHUFFLE = 10_000


def of_groups(samples: tf.data.Dataset, groups: Iterable[str]) -> tf.data.Dataset:
    """Keeps the samples of the given groups."""
    kept = tf.constant(sorted(groups))
    return samples.filter(lambda sample: tf.reduce_any(sample["group"] == kept))


def training_batches(
    samples: tf.data.Dataset,
    recipe: Recipe,
    first_step: int = 0,
    schema: LandmarkSchema | None = None,
) -> tf.data.Dataset:
    """Returns endless shuffled batches `(image, {"points", "affine"})`, augmented.

    Every image is decoded and reduced once and cached, in memory or on disk. The random
    numbers of a step depend only on the recipe's seed, TensorFlow's global seed (which
    `fit` sets to the recipe's) and the number of the step. A run that is resumed at
    `first_step` therefore continues with the same batches.

    Args:
        samples: Stored samples.
        recipe: `Recipe`.
        first_step: Int, the number of steps already taken.
        schema: `LandmarkSchema`, whose `pairs` are required by recipes that mirror
            images.

    Raises:
        ValueError: If the recipe mirrors images and there are no pairs.
    """
    pairs = mirror_pairs(recipe, schema)
    options = tf.data.Options()
    options.deterministic = True
    cached, read = _CACHES[recipe.cache](
        samples.map(lambda sample: prepare(sample, recipe), tf.data.AUTOTUNE)
    )
    batches = (
        cached.shuffle(_SHUFFLE, seed=recipe.seed, reshuffle_each_iteration=True)
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
    """Crops a batch to a random position of the recipe's window."""
    seed = tf.stack([tf.cast(recipe.seed, tf.int64), step + (1 << 41)])
    positions = places_of(recipe.window, recipe.grid).astype("int32")
    unit = tf.random.stateless_uniform([len(positions)], seed)
    start = tf.cast(unit * tf.cast(positions, tf.float32), tf.int32)
    image, labels = part_of_grid(batch, start, recipe.window, TENSORFLOW)
    return tf.ensure_shape(image, (None, *recipe.window, 1)), labels


def prepare(sample: Mapping[str, tf.Tensor], recipe: Recipe) -> dict[str, Any]:
    """Reduces the image of a stored sample. The result is the input of `augment`."""
    reduced = reduce_sample(sample, recipe)
    flat, sizes = resample.flatten(reduced.image, recipe.image_to_grid.outside_value)
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
    """Returns a training element with new random augmentation.

    Args:
        prepared: Dict, the result of `prepare`.
        number: Scalar int64. It is combined with the recipe's seed.
        recipe: `Recipe`.
        pairs: Pairs of landmarks that are exchanged in mirrored images.
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
    """Returns batches `(image, {"points", "affine"})`, in order, not augmented."""

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
    """Resamples one sample to the grid, see `on_grid`.

    Args:
        reduced: `ReducedImage`.
        points: float32 `(N, D)`, in pixels of the source image.
        affine: float32 `(D + 1, D + 1)`, from the source image to millimetres.
        recipe: `Recipe`.
        drawn: Dict, the result of `recipe.augmentation.draw`, or `None`.
        pairs: Pairs of landmarks that are exchanged in mirrored images.
    """
    flat, sizes = resample.flatten(reduced.image, recipe.image_to_grid.outside_value)
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


# XLA fuses about thirty passes over the grid, which then take a third of the time.
@functools.partial(tf.function, jit_compile=True, autograph=False)
def _compiled_image(flat, sizes, affine, elastic, drawn, to_grid, augmentation, code):
    # A function that was edited in a notebook keeps its name. The code is therefore an
    # argument, so that the function is compiled again.
    del code
    return image_on_grid(
        flat, sizes, affine, elastic, drawn, to_grid, augmentation, TENSORFLOW
    )


def reduce_sample(sample: Mapping[str, tf.Tensor], recipe: Recipe) -> ReducedImage:
    """Reduces the image of a stored sample for the grid of a recipe.

    An entry `grid_to_source` of the sample replaces the default placement of the grid,
    see `CoarseToFine`.
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
    """Writes each element to a separate file, so that files can be read in any order.

    The cache of `tf.data` on disk can be read in one order only, and a shuffle buffer
    would keep its elements in memory.
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


_CACHES = {"memory": _in_memory, "disk": _on_disk}
