"""The model of a run, also of an interrupted one."""

from typing import Any

import keras

from scn_keras.training.build import in_float32, load_model
from scn_keras.training.run import Run


def latest_model(run: Run) -> tuple[Any, str | None]:
    """Returns the trained model or, for an unfinished run, that of its last checkpoint.

    Args:
        run: `Run`.

    Returns:
        The model, see `Run.load_model`, and a note for users if it is that of a
        checkpoint, otherwise `None`.

    Raises:
        FileNotFoundError: If the run has neither a model nor a checkpoint.
    """
    if run.is_preset or run.model_path.is_file() or not run.checkpoint.is_file():
        return run.load_model(), None
    model = load_model(run.recipe, run.checkpoint)
    step = int(keras.ops.convert_to_numpy(model.optimizer.iterations.value))
    # The averaged weights, if the recipe averages.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    note = (
        f"The training of {run.path} is not finished: its model is that of step {step} "
        f"of {run.recipe.steps}. Continue it with `{run.resume_command}`."
    )
    return in_float32(model, run.recipe, len(run.schema)), note
