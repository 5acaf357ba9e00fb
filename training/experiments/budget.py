"""How many steps of a recipe fit into a time."""

import dataclasses
import itertools
import pathlib
import time

import keras

from scn_keras.training.build import compiled_model
from scn_keras.training.input.source import open_source
from scn_keras.training.recipe import Recipe

_WARM_UP = 3  # the first steps trace and compile
_TIMED_SECONDS = 10.0


def recipe_within(
    minutes: float,
    recipe: Recipe,
    data_dir: str | pathlib.Path | None = None,
    arrays: str | pathlib.Path | None = None,
) -> Recipe:
    """Measures a few steps of a recipe and returns it with as many as fit into a time.

    Validation is measured too, and counted as often as the recipe validates. A recipe
    from coarse to fine shares the time between its parts as their own steps would. The
    answer depends on the machine and on what else it does; written into a recipe, it
    makes a run that depends on neither.

    Args:
        minutes: Float, of training and validating, without reading the data.
        recipe: `Recipe`.
        data_dir: Where prepared data sets lie.
        arrays: A folder of arrays to train on instead, see `fit`.

    Returns:
        `Recipe`, that one with other `steps`, at least 1.

    Raises:
        FileNotFoundError: If the data set is not prepared.
        ValueError: If `minutes` is not positive.

    Example:

    ```python
    fit(recipe_within(30, recipe), "runs/half_an_hour")
    ```
    """
    if not minutes > 0:
        raise ValueError(f"`minutes` must be positive. Received: minutes={minutes}")
    parts = [recipe] if recipe.coarse is None else [recipe, recipe.coarse]
    own = sum(part.steps * _step_seconds(part, data_dir, arrays) for part in parts)
    steps = [max(int(part.steps * 60.0 * minutes / own), 1) for part in parts]
    if recipe.coarse is not None:
        coarse = dataclasses.replace(recipe.coarse, steps=steps[1])
        recipe = dataclasses.replace(recipe, coarse=coarse)
    return dataclasses.replace(recipe, steps=steps[0])


def _step_seconds(recipe, data_dir, arrays):
    """Of a training step with its share of validation."""
    source = open_source(recipe, data_dir, arrays)
    model = compiled_model(recipe, len(source.schema))
    batches = _arrays(source.training())
    for batch in itertools.islice(batches, _WARM_UP):
        model.train_on_batch(*batch)
    step = _mean_seconds(model.train_on_batch, batches)
    if source.validation is not None:
        number = sum(1 for _ in source.validation)
        # The first batch traces; of a single batch that cannot be left out.
        twice = itertools.chain(source.validation, source.validation)
        seconds = _mean_seconds(model.test_on_batch, _arrays(twice), skip=1)
        step += number * seconds / recipe.steps_per_epoch
    return step


def _arrays(batches):
    # `train_on_batch` takes tensors of its own backend, which those of `tf.data` are
    # not everywhere.
    for batch in batches:
        yield keras.tree.map_structure(keras.ops.convert_to_numpy, batch)


def _mean_seconds(function, batches, skip=0):
    for batch in itertools.islice(batches, skip):
        function(*batch)
    started, count = time.monotonic(), 0
    for batch in batches:
        function(*batch)
        count += 1
        if time.monotonic() - started > _TIMED_SECONDS:
            break
    return (time.monotonic() - started) / count
