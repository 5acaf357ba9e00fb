"""Continuation of a finished training with more steps, in a new run."""

import dataclasses
import pathlib
import shutil

import keras

from scn_keras.training.build import load_model, make_schedule
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run, write_json


def is_continuation(run: Run, recipe: Recipe) -> bool:
    """Returns whether a recipe is that of a finished run with more steps."""
    return (
        run.model_path.is_file()
        and run.checkpoint.is_file()
        and recipe.steps > run.recipe.steps
        and dataclasses.replace(recipe, steps=run.recipe.steps).stored_form()
        == run.recipe.stored_form()
    )


def continue_run(run: Run, steps: int, path: str | pathlib.Path) -> Run:
    """Creates a run that starts from the last step of a finished one.

    The weights, the state of the optimiser, the number of the step, the random numbers
    and the history continue. A learning-rate schedule that depends on the number of
    steps, such as `"cosine"`, is that of the larger number from the step that was
    reached: the learning rate rises again to the value that a training of `steps` steps
    has at that step. Other schedules continue unchanged. The file `continuation.json`
    records the rule, the finished run and its weights.

    Args:
        run: `Run`, finished; it is not changed.
        steps: Int, the steps of the new run in total.
        path: The folder of the new run.

    Returns:
        The new `Run`, whose training continues with `fit(..., resume=True)`.

    Raises:
        FileExistsError: If the folder exists and is not empty.
        FileNotFoundError: If the run has no checkpoint.
        ValueError: If the run has as many steps already.

    Example:

    ```python
    longer = continue_run(Run("runs/hands"), 20_000, "runs/hands_20000")
    fit(longer.recipe, longer.path, resume=True)
    ```
    """
    recipe = run.recipe
    if steps <= recipe.steps:
        raise ValueError(
            f"A continuation needs more steps than the {recipe.steps} of {run.path}. "
            f"Received: steps={steps}"
        )
    if not run.checkpoint.is_file():
        raise FileNotFoundError(
            f"{run.path} has no checkpoint to continue from. Train another model from "
            "its weights with --from."
        )
    model = load_model(recipe, run.checkpoint)
    longer = dataclasses.replace(recipe, steps=steps)
    schedule = make_schedule(longer)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        model.optimizer.learning_rate = schedule
    new = Run.create(path, longer, run.schema, run.data, run.orientation)
    try:
        if run.coarse is not None:
            shutil.copytree(run.coarse.path, new.path / "coarse")
        if (used := run.used_images) is not None:
            used.write(new.path)
        if run.history_path.is_file():
            shutil.copyfile(run.history_path, new.history_path)
        new.checkpoint.parent.mkdir()
        model.save(new.checkpoint)
        write_json(
            new.path / "continuation.json",
            {
                "run": run.path.name,
                "steps": recipe.steps,
                "weights": run.weights_digest(),
                "learning_rate": "that of the schedule of all steps, from the step "
                "that was reached",
            },
        )
    except BaseException:
        shutil.rmtree(new.path)
        raise
    return new
