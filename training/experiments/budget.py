"""Training within a time budget."""

import dataclasses
import itertools
import pathlib
import time

import keras

from scn_keras.training.build import compiled_model
from scn_keras.training.fit import open_source
from scn_keras.training.recipe import Recipe

_WARM_UP = 3  # the first steps include tracing and compilation
_TIMED_SECONDS = 10.0


def recipe_within(
    minutes: float,
    recipe: Recipe,
    data_dir: str | pathlib.Path | None = None,
    arrays: str | pathlib.Path | None = None,
) -> Recipe:
    """Returns a recipe with the number of steps that fits into a given time.

    The duration of a step is measured with a few steps of the recipe. The time of
    validation is also measured and included. A recipe with a coarse stage divides the
    time between both stages in the ratio of their present durations. The result depends
    on the machine and its load. A run of the returned recipe does not, since its number
    of steps is fixed.

    Args:
        minutes: Float, the time of training and validation, without reading the data.
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.
        arrays: A folder of arrays to use instead, see `fit`.

    Returns:
        The `Recipe` with other `steps`, at least 1.

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
    stages = [recipe] if recipe.coarse is None else [recipe, recipe.coarse]
    seconds = sum(
        stage.steps * _step_seconds(stage, data_dir, arrays) for stage in stages
    )
    steps = [max(int(stage.steps * 60.0 * minutes / seconds), 1) for stage in stages]
    if recipe.coarse is not None:
        coarse = dataclasses.replace(recipe.coarse, steps=steps[1])
        recipe = dataclasses.replace(recipe, coarse=coarse)
    return dataclasses.replace(recipe, steps=steps[0])


def _step_seconds(recipe, data_dir, arrays):
    """Returns the seconds of a training step, including its share of validation."""
    source = open_source(recipe, data_dir, arrays)
    model = compiled_model(recipe, len(source.schema))
    batches = _arrays(source.training())
    for batch in itertools.islice(batches, _WARM_UP):
        model.train_on_batch(*batch)
    step = _mean_seconds(model.train_on_batch, batches)
    if source.validation is not None:
        number = sum(1 for _ in source.validation)
        # The first batch includes tracing and is skipped. The batches are repeated,
        # because there may be only one.
        twice = itertools.chain(source.validation, source.validation)
        seconds = _mean_seconds(model.test_on_batch, _arrays(twice), skip=1)
        step += number * seconds / recipe.steps_per_epoch
    return step


def _arrays(batches):
    # `train_on_batch` requires tensors of the backend, which need not be TensorFlow.
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
