from collections.abc import Sequence

import keras
from rich.console import Console

from scn_keras.models import LandmarkModel, preset_path
from scn_keras.training.build import (
    compiled_model,
    in_float32,
    jit_compile,
    own_objects,
)
from scn_keras.training.callbacks import AveragedValidation, Recorder
from scn_keras.training.input.source import Source
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run
from scn_keras.training.start_from import start_from


class NetworkTraining:
    """Trains the Keras network of a recipe and writes it to a run.

    Args:
        recipe: `Recipe`.
        source: `Source` of the images.
    """

    def __init__(self, recipe: Recipe, source: Source) -> None:
        self._recipe = recipe
        self._source = source
        self._new: LandmarkModel | None = None

    def prepare(self) -> None:
        """Builds the model, so that errors are raised before the run is created."""
        self._new = self._new_model()

    def train(
        self,
        run: Run,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        tensorboard: bool = False,
    ) -> None:
        """Trains from the last checkpoint, if it exists, and writes the model."""
        callbacks = [*self._own_callbacks(run, tensorboard), *callbacks]
        model, step = self._restored(run)
        while step < self._recipe.steps:
            step, stopped = self._fit(model, run, step, callbacks)
            if stopped or step == self._recipe.steps:
                break
            # The training continues in the same way as a resumed training.
            model, step = self._restored(run)
        # With averaging, the averaged weights are the model. Keras assigns them at the
        # end of `fit`, but not if the training was interrupted after its last step.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        run.save_model(in_float32(model, self._recipe, len(self._source.schema)))

    def _fit(self, model, run, step, callbacks):
        """Trains to the end, or to the beginning of the last, shorter epoch.

        Returns:
            The number of steps, and whether a callback has ended the training.
        """
        left = self._recipe.steps - step
        steps = min(self._recipe.steps_per_epoch, left)
        before = step // self._recipe.steps_per_epoch
        recorder = Recorder(run, step)
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
        return recorder.step, recorder.step < step + left // steps * steps

    def _restored(self, run):
        """Returns the model of the last checkpoint or a new one, and its steps."""
        keras.utils.set_random_seed(self._recipe.seed)  # for the input pipeline
        if run.checkpoint.is_file():
            model = keras.models.load_model(
                run.checkpoint, custom_objects=own_objects(self._recipe)
            )
            model.jit_compile = jit_compile(self._recipe)  # the backend may differ
        else:
            model = self._new or self._new_model()
        step = int(keras.ops.convert_to_numpy(model.optimizer.iterations.value))
        return model, step

    def _new_model(self):
        recipe, schema = self._recipe, self._source.schema
        model = compiled_model(recipe, len(schema))
        if recipe.start is not None:
            source = Run(preset_path(recipe.start))
            summary = start_from(model, recipe, schema, source)
            Console().print(summary, markup=False, highlight=False, soft_wrap=True)
        return model

    def _own_callbacks(self, run, tensorboard):
        callbacks: list[keras.callbacks.Callback] = []
        if self._recipe.optimizer.average is not None:
            callbacks.append(AveragedValidation())
        if tensorboard:
            from scn_keras.training.tensorboard_log import TensorBoardLog

            source = self._source
            images = source.plain() if source.validation is None else source.validation
            folder = run.path / "tensorboard"
            callbacks.append(TensorBoardLog(folder, images, source.schema))
        return callbacks
