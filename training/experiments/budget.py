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

    The duration of a step is measured with a few steps of the recipe. The times of
    validation, of this measurement and of the start of the training, in which the data
    are read and the model is compiled, are also measured and included. A recipe with a
    coarse stage divides the time between both stages in the ratio of their present
    durations. The result depends on the machine and its load. A run of the returned
    recipe does not, since its number of steps is fixed.

    Args:
        minutes: Float, the time from this call to the end of the training.
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
    started = time.monotonic()
    stages = [recipe] if recipe.coarse is None else [recipe, recipe.coarse]
    measured = [_seconds(stage, data_dir, arrays) for stage in stages]
    left = 60.0 * minutes - sum(start for start, _ in measured)
    left -= time.monotonic() - started
    present = sum(
        stage.steps * step for stage, (_, step) in zip(stages, measured, strict=True)
    )
    steps = [max(int(stage.steps * left / present), 1) for stage in stages]
    if recipe.coarse is not None:
        coarse = dataclasses.replace(recipe.coarse, steps=steps[1])
        recipe = dataclasses.replace(recipe, coarse=coarse)
    return dataclasses.replace(recipe, steps=steps[0])


def _seconds(recipe, data_dir, arrays):
    """Returns the seconds of the start, and of a step with its share of validation."""
    started = time.monotonic()
    source = open_source(recipe, data_dir, arrays)
    model = compiled_model(recipe, len(source.schema))
    batches = _arrays(source.training())
    for batch in itertools.islice(batches, _WARM_UP):
        model.train_on_batch(*batch)
    start = time.monotonic() - started
    step = _mean_seconds(model.train_on_batch, batches)
    if source.validation is not None:
        number = sum(1 for _ in source.validation)
        started = time.monotonic()
        for batch in itertools.islice(_arrays(source.validation), 1):
            model.test_on_batch(*batch)
        start += time.monotonic() - started
        # The first batch includes tracing. The batches are repeated, because there may
        # be only one.
        twice = itertools.chain(source.validation, source.validation)
        seconds = _mean_seconds(model.test_on_batch, _arrays(twice))
        step += number * seconds / recipe.steps_per_epoch
    return start, step


def _arrays(batches):
    # `train_on_batch` requires tensors of the backend, which need not be TensorFlow.
    for batch in batches:
        yield keras.tree.map_structure(keras.ops.convert_to_numpy, batch)


def _mean_seconds(function, batches):
    started, count = time.monotonic(), 0
    for batch in batches:
        function(*batch)
        count += 1
        if time.monotonic() - started > _TIMED_SECONDS:
            break
    return (time.monotonic() - started) / count
