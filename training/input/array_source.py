import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from scn_keras import warp
from scn_keras.datasets.deals.deal_registry import DealRegistry
from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.files.orientation import STORED_PIXELS
from scn_keras.training.input import selection
from scn_keras.training.input.array_folder import ArrayFolder
from scn_keras.training.input.dealt_patients import divide_images, held_out_patients
from scn_keras.training.input.on_grid import (
    ReducedImage,
    on_grid,
    part_of_grid,
    places_of,
)
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run

_GEOMETRY = ("affine", "to_source", "grid_to_source", "size")


class ArraySource:
    """The input of `fit` from a data set stored as arrays, by NumPy on any backend.

    Random parameters are drawn on the host by NumPy and depend only on the recipe's
    seed and the number of the step. A resumed run therefore continues with the same
    batches, and all backends get the same images. Images are deformed on the device,
    one batch at a time.

    Args:
        recipe: `Recipe`.
        path: The folder, see `ArrayFolder`.

    Attributes:
        schema: `LandmarkSchema`.
        orientation: Str, the rule of the data set for files with an orientation tag.
        validation: The held-out images, resampled to the grid, in batches; or `None`.
        images: Two `ImageTable`, of the training and of the held-out images; empty for
            arrays of version 0.1.

    Raises:
        FileNotFoundError: If there are no arrays.
        ValueError: If the recipe does not fit them.
    """

    def __init__(self, recipe: Recipe, path: str | pathlib.Path) -> None:
        self._folder = folder = ArrayFolder(path)
        folder.require(recipe)
        if folder.header["spacing_from_points"]:
            selection.refuse_millimetres(recipe, folder.header["spacing_rule"])
        self.schema = folder.schema
        self.orientation = folder.header.get("orientation", STORED_PIXELS)
        self._recipe = recipe
        make = _batch_maker(recipe, selection.mirror_pairs(recipe, self.schema))
        rows = folder.rows(recipe.train_split)
        patients = held_out_patients(*self._split(folder))
        groups = folder.samples["group"][rows].tolist()
        held_out = np.isin(groups, sorted(patients))
        self._images = _Images(folder, rows[~held_out], recipe, make)
        selection.require_points(
            [self._images.points()], self.schema.names, self._recipe
        )
        self._order = functools.lru_cache(maxsize=2)(self._permutation)
        self.validation = None
        if held_out.any():
            self.validation = _Images(folder, rows[held_out], recipe, make).in_order()

    @functools.cached_property
    def images(self) -> tuple[ImageTable, ImageTable]:
        images, recipe, registry = self._split(self._folder)
        return divide_images(self._folder.table().select(images.ids), recipe, registry)

    def place(self, run: Run) -> None:
        """Validates the recipe of a run. Arrays already contain the placed grid."""
        self._folder.require(run.recipe)

    def training(self, first_step: int = 0) -> keras.utils.PyDataset:
        """Returns endless shuffled batches `(image, {"points", "affine"})`, augmented.

        Args:
            first_step: Int, the number of steps already taken.
        """
        return _Batches(lambda index: self._training_batch(first_step + index))

    def plain(self) -> keras.utils.PyDataset:
        """Returns the training images without augmentation, in order."""
        return self._images.in_order()

    def _split(
        self, folder: ArrayFolder
    ) -> tuple[ImageTable, Recipe, DealRegistry | None]:
        """Returns the images of the training split, to divide them."""
        ids = folder.ids(self._recipe.train_split)
        if len(table := folder.table()):
            return table.select(ids), self._recipe, DealRegistry([folder.path])
        # Arrays of version 0.1 have the names of the patients only.
        groups = folder.samples["group"][folder.rows(self._recipe.train_split)]
        without = ImageTable(tuple(ids), tuple(groups.tolist()), ("",) * len(ids))
        return without, self._recipe, None

    def _training_batch(self, step):
        recipe, count = self._recipe, len(self._images)
        numbers = range(step * recipe.batch_size, (step + 1) * recipe.batch_size)
        chosen = [self._order(n // count)[n % count] for n in numbers]
        drawn = {}
        if recipe.augmentation is not None:
            drawn = recipe.augmentation.draw(
                [recipe.seed, step], recipe.grid, warp.NUMPY, (recipe.batch_size,)
            )
        random = np.random.default_rng([recipe.seed, step, 2])
        observers = random.uniform(size=recipe.batch_size).astype("float32")
        batch = self._images.batch(chosen, recipe.observer, observers, drawn)
        if recipe.window is None:
            return batch
        positions = places_of(recipe.window, recipe.grid)
        start = random.integers(positions).astype("int32")
        return part_of_grid(batch, start, recipe.window)

    def _permutation(self, epoch):
        random = np.random.default_rng([self._recipe.seed, epoch, 3])
        return random.permutation(len(self._images))


class _Images:
    """Images of a folder of arrays with their points and affines."""

    def __init__(self, folder, rows, recipe, make):
        self.images = [folder.image(row, recipe.cache == "memory") for row in rows]
        self.samples = selection.without_other_truths(
            {
                name: values[rows]
                for name, values in folder.samples.items()
                if name in _GEOMETRY or name.startswith("points")
            },
            folder.header["ground_truths"],
            recipe,
        )
        # All images are padded to one length, so that one program is compiled.
        self.length = max(math.prod(np.add(i.shape, 2).tolist()) for i in self.images)
        self.recipe = recipe
        self.make = make
        # Raises an error now if there are no such points.
        selection.observed_points(self.samples, recipe.observer, np.float32(0.0))

    def __len__(self):
        return len(self.images)

    def points(self):
        return {k: v for k, v in self.samples.items() if k.startswith("points")}

    def in_order(self):
        size = self.recipe.batch_size
        observer = "mean" if self.recipe.observer == "random" else self.recipe.observer

        @functools.cache
        def batch(index):
            first = index * size
            chosen = range(first, min(first + size, len(self)))
            # Kept in host memory, which is larger than that of the device.
            return keras.tree.map_structure(
                keras.ops.convert_to_numpy, self.batch(chosen, observer)
            )

        return _Batches(batch, math.ceil(len(self) / size))

    def batch(self, chosen, observer, observers=None, drawn=()):
        outside = self.recipe.image_to_grid.outside_value
        flat = np.full((len(chosen), self.length), outside, np.float16)
        sizes = []
        for row, number in zip(flat, chosen, strict=True):
            image = self.images[number]
            shape = [size + 2 for size in image.shape]  # with a border
            inside = row[: math.prod(shape)].reshape(shape)
            inside[(slice(1, -1),) * image.ndim] = image
            sizes.append(shape)
        samples = {name: values[chosen] for name, values in self.samples.items()}
        points = selection.observed_points(samples, observer, observers)
        geometry = {name: samples[name] for name in _GEOMETRY}
        return self.make(flat, np.array(sizes, "int32"), points, geometry, dict(drawn))


class _Batches(keras.utils.PyDataset):
    """A data set of numbered batches, endless if no count is given."""

    def __init__(self, batch: Callable[[int], Any], count: int | None = None) -> None:
        super().__init__()
        self._batch = batch
        self._count = count

    @property
    def num_batches(self) -> int | None:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if self._count is not None and index >= self._count:
            raise IndexError(index)  # the end of a loop over the batches
        return self._batch(index)


def _batch_maker(recipe, pairs):
    """Returns a function from arrays to training elements of backend tensors."""

    def make(*arrays):
        flat, sizes, points, geometry, drawn = keras.tree.map_structure(
            keras.ops.convert_to_tensor, arrays
        )
        affine = geometry.pop("affine")
        reduced = ReducedImage(keras.ops.cast(flat, "float32"), **geometry)
        return on_grid(reduced, sizes, affine, points, recipe, drawn or None, pairs)

    return _compiled(make)


def _compiled(function):
    """Compiles a function of arrays, on backends where this is faster."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False)
    return function
