import pathlib
from collections.abc import Sequence

import keras

from scn_keras.training.build import make_callbacks, make_method
from scn_keras.training.input.source import open_source
from scn_keras.training.network_training import NetworkTraining
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


def fit(
    recipe: Recipe,
    path: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    arrays: str | pathlib.Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Trains a recipe and writes the results to the folder of a run.

    An interrupted run continues from its last checkpoint. On the same backend and data,
    its final model is the same as without the interruption.

    Args:
        recipe: `Recipe`. To resume a run, it must be the recipe of that run.
        path: The folder of the run.
        data_dir: The folder of prepared data sets.
        resume: Bool, whether to continue an existing run in `path`.
        tensorboard: Bool, whether to write curves and images with points to the run's
            folder `tensorboard`.
        arrays: A folder of arrays, see `ArrayFolder`, to use instead of a prepared data
            set. The training then requires only Keras, NumPy and a backend.
        callbacks: Keras callbacks in addition to those of the recipe. They are not
            stored with the recipe. When `on_epoch_end` is called, history and
            checkpoint of the epoch have been written. Setting
            `self.model.stop_training = True` ends the training, and the current weights
            become the model. The callbacks are not used for a coarse stage. If `steps`
            is not a multiple of `steps_per_epoch`, the last, shorter epoch is a
            separate call of Keras's `fit`.

    Returns:
        The finished `Run`. `run.path` is its folder, `run.load_model()` returns the
        model and `run.locator()` a `Locator`. `run.history_path` is a CSV file with one
        row per epoch: `step`, `seconds`, `loss`, `point_error` in mm, `sdr_2`, and
        `val_...` for the held-out images.

    Raises:
        FileExistsError: If `path` is not empty and `resume` is not set.
        FileNotFoundError: If the data set is not prepared.
        ImportError: If `tensorboard` is set and TensorBoard is not installed, or the
            module of a user-defined part cannot be imported.
        ValueError: If a run is resumed with another recipe, or the recipe does not fit
            the data.

    Example:

    ```python
    from scn_keras.training.fit import (fit)
    from scn_keras.training.recipes import load_recipe

    run = fit(load_recipe("synthetic_hand"), "runs/synthetic_hand")
    print(run.history_path.read_text())
    ```
    """
    # Invalid settings raise an error before the folder of the run is created.
    if tensorboard:
        from scn_keras.training.tensorboard_log import TensorBoardLog

        TensorBoardLog.require()
    source = open_source(recipe, data_dir, arrays)
    callbacks = [*make_callbacks(recipe), *callbacks]
    path = pathlib.Path(path)
    training = NetworkTraining(recipe, source)
    if resume and (path / "recipe.json").is_file():
        run = Run(path)
        if run.recipe != recipe:
            raise ValueError(
                f"The run in {path} was started with another recipe, see its "
                "recipe.json. Resume it with the same settings, or choose another "
                "folder with --out."
            )
        if run.model_path.is_file():
            return run
    else:
        if recipe.augmentation is not None:
            recipe.augmentation.validate(recipe.grid)
        if recipe.uses_network:
            training.prepare()
        else:
            make_method(recipe)
        run = Run.create(path, recipe, source.schema)
    if recipe.coarse is not None:
        fit(recipe.coarse, run.path / "coarse", data_dir, True, tensorboard)
        source.place(run)
    if recipe.uses_network:
        training.train(run, callbacks, tensorboard)
    else:
        make_method(recipe).fit(run, source, callbacks)
    return run
