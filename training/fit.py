import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import keras
from rich.console import Console

from scn_keras.files.orientation import STORED_PIXELS
from scn_keras.models import LandmarkModel, preset_path
from scn_keras.training._fitted_peak import with_fitted_peak, with_trial_peak
from scn_keras.training.build import (
    compiled_model,
    in_float32,
    jit_compile,
    load_model,
    make_callbacks,
    make_method,
    require_parts,
)
from scn_keras.training.callbacks import AveragedValidation, Recorder
from scn_keras.training.collapse import (
    CollapseCheck,
    add_recovery,
    apply_recoveries,
)
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.input.source import Source
from scn_keras.training.leaks import images_to_use, require_same_images
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run
from scn_keras.training.start_from import start_from

_STORED_PIXELS_NOTE = (
    "Note: the data set was stored before image files with an orientation tag were "
    "refused. If it has such files, their stored pixels are used, as `predict` will "
    "do. Prepare it again with --overwrite to find out."
)


def fit(
    recipe: Recipe,
    path: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    arrays: str | pathlib.Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    film: str | None = None,
) -> Run:
    """Trains a recipe and writes the results to the folder of a run.

    An interrupted run continues from its last checkpoint. On the same backend and data,
    its final model is the same as without the interruption.

    Args:
        recipe: `Recipe`. To resume a run, it must be the recipe of that run, apart from
            its callbacks.
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
        film: The name of a landmark, or `"all"`: its heatmaps on the first held-out
            image (training image if none is held out) are filmed, see `HeatmapFilm`, in
            `film.webp` of the run.

    Returns:
        The finished `Run`. `run.path` is its folder, `run.load_model()` returns the
        model and `run.locator()` a `Locator`. `run.history_path` is a CSV file with one
        row per epoch: `step`, `seconds`, `loss`, `point_error` in mm, `sdr_2`,
        `val_...` for the held-out images, and `recoveries`, the number of collapses so
        far. A training that has collapsed continues from its last good epoch at half
        the learning rate.

    Raises:
        FileExistsError: If `path` is not empty and `resume` is not set.
        FileNotFoundError: If the data set is not prepared.
        ImportError: If `tensorboard` is set and TensorBoard is not installed, or the
            module of a user-defined part cannot be imported.
        RuntimeError: If the training collapses more than five times.
        ValueError: If a run is resumed with other settings, a part of the recipe fails
            in a trial, or the recipe does not fit the data.

    Example:

    ```python
    from scn_keras.training.fit import fit
    from scn_keras.training.recipes import load_recipe

    run = fit(load_recipe("synthetic_hand"), "runs/synthetic_hand")
    print(run.history_path.read_text())
    ```
    """
    # Invalid settings raise an error before the folder of the run is created.
    if tensorboard:
        from scn_keras.training.tensorboard_log import TensorBoardLog

        TensorBoardLog.require()
    require_parts(recipe)
    recipe.stored_form()
    path = pathlib.Path(path)
    source = open_source(recipe, data_dir, arrays)
    if film is not None:
        _require_film(recipe, source, film)
    callbacks = [*make_callbacks(recipe), *callbacks]
    training = _NetworkTraining(recipe, source)
    if resume and (path / "recipe.json").is_file():
        run = Run(path)
        _require_same_settings(run, recipe)
        if run.model_path.is_file():
            _print(f"Already finished: {run.model_path}")
            return run
        require_same_images(run, source)
    else:
        _prepare(recipe, training)
        used, notes = images_to_use(recipe, source, data_dir, arrays is not None)
        locations = _locations(data_dir, arrays)
        rule = source.orientation
        run = Run.create(path, recipe, source.schema, locations, rule)
        used.write(run.path)
        for note in notes:
            _print(note)
        if rule == STORED_PIXELS:
            _print(_STORED_PIXELS_NOTE)
        if resume:
            _print(f"There is no run in {path} yet: a new training starts.")
    if recipe.coarse is not None:
        coarse = run.path / "coarse"
        existing = (coarse / "recipe.json").is_file()
        fit(recipe.coarse, coarse, data_dir, existing, tensorboard)
        source.place(run)
    if recipe.uses_network:
        training.train(run, callbacks, tensorboard, film)
    else:
        make_method(recipe).fit(run, source, callbacks)
    return run


def open_source(
    recipe: Recipe,
    data_dir: str | pathlib.Path | None = None,
    arrays: str | pathlib.Path | None = None,
) -> Source:
    """Opens a prepared data set or a folder of arrays.

    Args:
        recipe: `Recipe`.
        data_dir: The folder of prepared data sets.
        arrays: A folder of arrays, see `ArrayFolder`, to read instead. This requires
            neither TensorFlow nor TFDS.

    Raises:
        FileNotFoundError: If the data set does not exist.
        ValueError: If the recipe does not fit the data.
    """
    if arrays is not None:
        return ArraySource(recipe, arrays)
    from scn_keras.training.input.stored_source import StoredSource

    return StoredSource(recipe, data_dir)


def _require_film(recipe: Recipe, source: Source, film: str) -> None:
    from scn_keras.training.heatmap_film import HeatmapFilm  # loads matplotlib

    if not recipe.uses_network:
        raise ValueError(
            "A film requires a network with heatmaps. Received: "
            f"method={recipe.method!r}"
        )
    HeatmapFilm.require(source.schema, film)


def _prepare(recipe: Recipe, training: "_NetworkTraining") -> None:
    """Tries the parts of a recipe, so that errors precede the folder of the run."""
    if recipe.augmentation is not None:
        recipe.augmentation.validate(recipe.grid)
    if recipe.uses_network:
        training.prepare()
    coarse = recipe.coarse
    if coarse is not None:
        if coarse.augmentation is not None:
            coarse.augmentation.validate(coarse.grid)
        if coarse.uses_network:
            training.try_stage(coarse)


def _locations(data_dir, arrays):
    """Returns the absolute paths of the data, with which the run can be resumed."""
    return {
        name: str(pathlib.Path(path).expanduser().absolute())
        for name, path in (("data_dir", data_dir), ("arrays", arrays))
        if path is not None
    }


def _require_same_settings(run: Run, recipe: Recipe) -> None:
    """Validates that a run was started with the settings of a recipe.

    Callbacks may differ, since a faulty one would prevent its run from being resumed.
    """
    recorded, received = _without_callbacks(run.recipe), _without_callbacks(recipe)
    if recorded.stored_form() == received.stored_form():
        return
    raise ValueError(
        f"The run in {run.path} was started with other settings. Resume it with the "
        "recorded settings, or choose another folder with --out. "
        f"Recorded: {', '.join(recorded.settings(received))}. "
        f"Received: {', '.join(received.settings(recorded))}"
    )


def _without_callbacks(recipe: Recipe) -> Recipe:
    coarse = recipe.coarse
    return dataclasses.replace(
        recipe,
        callbacks=(),
        coarse=None if coarse is None else _without_callbacks(coarse),
    )


def _print(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


class _NetworkTraining:
    """Trains the Keras network of a recipe and writes it to a run.

    Args:
        recipe: `Recipe`.
        source: `Source` of the images.
    """

    def __init__(self, recipe: Recipe, source: Source) -> None:
        # After `place`, the points of a coarse-to-fine recipe are others.
        self._fit_peak = functools.partial(with_fitted_peak, recipe, source)
        self._recipe = recipe
        self._source = source
        self._new: LandmarkModel | None = None
        self._check = CollapseCheck(source.plain)

    def prepare(self) -> None:
        """Builds the model, so that errors are raised before the run is created."""
        self._recipe = self._fit_peak()
        self._new = self._new_model()

    def try_stage(self, recipe: Recipe) -> None:
        """Builds the model of a coarse stage, for its errors only."""
        landmarks = len(self._source.schema)
        compiled_model(with_trial_peak(recipe, landmarks), landmarks)

    def train(
        self,
        run: Run,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        tensorboard: bool = False,
        film: str | None = None,
    ) -> None:
        """Trains from the last checkpoint, if it exists, and writes the model."""
        callbacks = [*self._own_callbacks(run, tensorboard, film), *callbacks]
        if self._new is None or self._recipe.coarse is not None:
            self._recipe, self._new = self._fit_peak(), None
        model, step = self._restored(run)
        if 0 < step < self._recipe.steps:
            self._check.begin(model)
        recorder = None
        while step < self._recipe.steps:
            recorder = self._fit(model, run, step, callbacks, recorder)
            if recorder.collapse is None and (
                recorder.stopped or recorder.step == self._recipe.steps
            ):
                break
            # The training continues in the same way as a resumed training.
            model, step = self._restored(run, recorder)
        self._name_useless_landmarks()
        # With averaging, the averaged weights are the model. Keras assigns them at the
        # end of `fit`, but not if the training was interrupted after its last step.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        run.save_model(in_float32(model, self._recipe, len(self._source.schema)))

    def _fit(self, model, run, step, callbacks, previous):
        """Trains to the end, to the beginning of the last epoch, or to a collapse.

        Args:
            previous: The `Recorder` of the part before, or `None`.

        Returns:
            The `Recorder` of this part.
        """
        left = self._recipe.steps - step
        steps = min(self._recipe.steps_per_epoch, left)
        before = step // self._recipe.steps_per_epoch
        recorder = Recorder(run, step, self._check, previous)
        recorder.end = step + left // steps * steps
        with recorder.bar:
            model.fit(
                self._source.training(step),
                steps_per_epoch=steps,
                initial_epoch=before,
                epochs=before + left // steps,
                validation_data=self._source.validation,
                callbacks=[recorder, *callbacks],
                shuffle=False,
                verbose=0,
            )
        return recorder

    def _name_useless_landmarks(self):
        useless, names = self._check.useless, self._source.schema.names
        if len(useless) == len(names):
            _print(
                "Note: the points are not found even on training images. The network "
                "is hardly trained, or its points are wrong "
                "(`scn-keras datasets check`). Train longer, or with another learning "
                "rate."
            )
        elif useless:
            _print(
                f"Note: {len(useless)} of {len(names)} landmarks are not found on "
                f"training images: {', '.join(names[i] for i in useless)}. They are "
                "confused with others, their heatmaps are empty, or their points are "
                "wrong (`scn-keras datasets check`). Train longer, or with another "
                "learning rate."
            )

    def _restored(self, run, recorder=None):
        """Returns the model of the last checkpoint or a new one, and its steps.

        Args:
            run: `Run`.
            recorder: `Recorder` of the training so far, which may have collapsed.
        """
        keras.utils.set_random_seed(self._recipe.seed)  # for the input pipeline
        if run.checkpoint.is_file():
            model = load_model(self._recipe, run.checkpoint)
            model.jit_compile = jit_compile(self._recipe)  # the backend may differ
        else:
            model = self._new or self._new_model()
            self._new = None  # it is trained from now on
        step = int(keras.ops.convert_to_numpy(model.optimizer.iterations.value))
        if recorder is not None and recorder.collapse is not None:
            reason, row = recorder.collapse, recorder.row
            recovery = add_recovery(run.path, recorder.step, step, reason, row)
            _print(recovery.message)
        apply_recoveries(run.path, step, model.optimizer)
        return model, step

    def _new_model(self):
        recipe, schema = self._recipe, self._source.schema
        model = compiled_model(recipe, len(schema))
        if recipe.start is None and recipe.local is not None and recipe.local.frozen:
            raise ValueError(
                "`local.frozen` requires a trained network. Name its run or preset "
                "with --from (start). Received: local.frozen=True, start=None"
            )
        if recipe.start is not None:
            source = Run(preset_path(recipe.start))
            summary = start_from(model, recipe, schema, source)
            _print(summary)
        return model

    def _own_callbacks(self, run, tensorboard, film):
        callbacks: list[keras.callbacks.Callback] = []
        if self._recipe.optimizer.average is not None:
            callbacks.append(AveragedValidation())
        if tensorboard:
            from scn_keras.training.tensorboard_log import TensorBoardLog

            folder, schema = run.path / "tensorboard", self._source.schema
            callbacks.append(TensorBoardLog(folder, self._shown_images(), schema))
        if film is not None:
            from scn_keras.training.heatmap_film import HeatmapFilm

            path, steps = run.path / "film.webp", self._recipe.steps
            image, y = keras.tree.map_structure(
                lambda values: keras.ops.convert_to_numpy(values)[0],
                next(iter(self._shown_images())),
            )
            schema, true = self._source.schema, y["points"]
            callbacks.append(HeatmapFilm(path, image, schema, steps, film, true))
        return callbacks

    def _shown_images(self):
        """Returns batches of held-out images, or of training images without any."""
        source = self._source
        return source.plain() if source.validation is None else source.validation
