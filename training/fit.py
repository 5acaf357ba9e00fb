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
    """Trains a recipe and keeps everything in the folder of a run.

    A run that was interrupted continues from its last checkpoint and ends with the
    model that it would have ended with, on the same backend and data.

    Args:
        recipe: `Recipe`. Where a run is resumed it must be the run's own.
        path: The folder of the run.
        data_dir: Where prepared data sets lie.
        resume: Bool, whether to continue the run in `path`, if there is one.
        tensorboard: Bool, whether to keep curves and pictures of points in the run's
            folder `tensorboard` as well.
        arrays: A folder of arrays, see `ArrayFolder`, to train on instead of a
            prepared data set. Then nothing but Keras, NumPy and a backend is needed.
        callbacks: Keras callbacks, beside those of the recipe, of which they are no
            part. History and checkpoint of an epoch are written when their
            `on_epoch_end` is called. `self.model.stop_training = True` ends the
            training, and the weights of that moment become the model. A coarse stage
            is trained without them. Where `steps` is no multiple of
            `steps_per_epoch`, the last, shorter epoch is a training of its own to
            them.

    Returns:
        The finished `Run`: `run.path` is its folder, `run.load_model()` the model,
        `run.locator()` finds landmarks, `run.history_path` is a CSV file with a row an
        epoch: `step`, `seconds`, `loss`, `point_error` in mm, `sdr_2`, and
        `val_...` of the images held out.

    Raises:
        FileExistsError: If `path` holds something and `resume` is not set.
        FileNotFoundError: If the data set is not prepared.
        ImportError: If TensorBoard is asked for and not installed, or the module of a
            part of your own cannot be imported.
        ValueError: If a run is resumed with another recipe, or a recipe does not fit
            the data.

    Example:

    ```python
    from scn_keras.training.fit import (fit)
    from scn_keras.training.recipes import load_recipe

    run = fit(load_recipe("synthetic_hand"), "runs/synthetic_hand")
    print(run.history_path.read_text())
    ```
    """
    # Before the folder is made: what cannot be trained leaves none.
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
                f"{path} was started with another recipe, see its recipe.json. Resume "
                "it with the same settings, or name another folder with --out."
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
