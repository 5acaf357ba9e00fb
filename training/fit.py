"""Trains a recipe into a run."""

import csv
import io
import pathlib
import time

import keras
from rich import progress
from rich.console import Console

from scn_keras import losses
from scn_keras.files.atomic_write import write_text
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.metrics import PointError, SuccessDetectionRate
from scn_keras.models import LandmarkModel, preset_path
from scn_keras.training.input.source import open_source
from scn_keras.training.recipe import LOSSES, Recipe
from scn_keras.training.run import Run, build_model
from scn_keras.training.start_from import start_from


def fit(
    recipe: Recipe,
    path: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    arrays: str | pathlib.Path | None = None,
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

    Returns:
        The finished `Run`.

    Raises:
        FileExistsError: If `path` holds something and `resume` is not set.
        FileNotFoundError: If the data set is not prepared.
        ImportError: If TensorBoard is asked for and not installed.
        ValueError: If a run is resumed with another recipe, or a recipe does not fit
            the data.
    """
    # Before the folder is made: what cannot be trained leaves none.
    if tensorboard:
        from scn_keras.training.tensorboard_log import TensorBoardLog

        TensorBoardLog.require()
    source = open_source(recipe, data_dir, arrays)
    schema = source.schema
    path = pathlib.Path(path)
    model: LandmarkModel | None = None
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
        model = _new_model(recipe, schema)
        run = Run.create(path, recipe, schema)
    if recipe.coarse is not None:
        fit(recipe.coarse, run.path / "coarse", data_dir, True, tensorboard)
        source.place(run)

    extra: list[keras.callbacks.Callback] = []
    if recipe.optimizer.average is not None:
        extra.append(_AveragedValidation())
    if tensorboard:
        shown = source.plain() if source.validation is None else source.validation
        extra.append(TensorBoardLog(run.path / "tensorboard", shown, schema))

    while True:
        keras.utils.set_random_seed(recipe.seed)  # of what the pipeline draws
        if run.checkpoint.is_file():
            model = keras.models.load_model(run.checkpoint)
            model.jit_compile = _jit_compile(recipe)  # the backend may be another
        elif model is None:
            model = _new_model(recipe, schema)
        step = int(keras.ops.convert_to_numpy(model.optimizer.iterations.value))
        recorder = _Recorder(run, step)
        # The last epoch may be shorter, so that `steps` is met exactly.
        left = recipe.steps - step
        steps = min(recipe.steps_per_epoch, left)
        if steps:
            with recorder.bar:
                model.fit(
                    source.training(step),
                    steps_per_epoch=steps,
                    epochs=left // steps,
                    validation_data=source.validation,
                    callbacks=[recorder, *extra],
                    shuffle=False,
                    verbose=0,
                )
            step = recorder.step
        if step == recipe.steps:
            break
    # With averaging, what was averaged is the model. Keras did so at the end of `fit`,
    # but not if the run died after its last step.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    run.save_model(_in_float32(model, recipe, len(schema)))
    return run


def compiled_model(recipe: Recipe, num_landmarks: int) -> LandmarkModel:
    """Returns the model that a recipe starts from, ready for `fit`."""
    keras.utils.set_random_seed(recipe.seed)
    model = build_model(recipe, num_landmarks)
    model.compile(
        make_optimizer(recipe),
        make_loss(recipe),
        metrics=[PointError(), SuccessDetectionRate(2.0)],
        jit_compile=_jit_compile(recipe),
    )
    return model


def _jit_compile(recipe: Recipe) -> bool | str:
    # Without it, JAX runs operation by operation.
    return recipe.jit_compile or keras.backend.backend() == "jax"


def _new_model(recipe: Recipe, schema: LandmarkSchema) -> LandmarkModel:
    model = compiled_model(recipe, len(schema))
    if recipe.start is not None:
        source = Run(preset_path(recipe.start))
        said = start_from(model, recipe, schema, source)
        Console().print(said, markup=False, highlight=False, soft_wrap=True)
    return model


def make_loss(recipe: Recipe) -> keras.losses.Loss:
    """Returns the loss of a recipe."""
    name, fixed = LOSSES[recipe.loss]
    return getattr(losses, name)(**fixed, **recipe.loss_settings)


def make_optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Returns the optimiser of a recipe, with its learning-rate schedule."""
    settings = recipe.optimizer
    warmup = round(settings.warmup * recipe.steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        max(recipe.steps - warmup, 1),
        alpha=settings.final,
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    common = {"global_clipnorm": settings.clip_norm}
    if settings.average is not None:
        common |= {"use_ema": True, "ema_momentum": settings.average}
    if settings.name == "sgd":
        return keras.optimizers.SGD(
            rate, momentum=settings.momentum, nesterov=True, **common
        )
    return keras.optimizers.Adam(rate, epsilon=settings.epsilon, **common)


def _in_float32(
    model: LandmarkModel, recipe: Recipe, num_landmarks: int
) -> LandmarkModel:
    # Inference in bfloat16 moves points by more than the design allows between
    # programs that run the same weights; the weights themselves are float32.
    settings = {**recipe.to_dict()}
    settings["network"] = {**settings["network"], "dtype": "float32"}
    result = build_model(Recipe.from_dict(settings), num_landmarks)
    result.set_weights(model.get_weights())
    return result


class _Recorder(keras.callbacks.Callback):
    """After each epoch: a row of `history.csv`, then a checkpoint, in this order.

    A run that dies in between has a row too many, which `_cut_history` removes.
    """

    def __init__(self, run: Run, step: int) -> None:
        super().__init__()
        self.run = run
        self.step = step
        self.steps = run.recipe.steps
        self.started = time.monotonic() - _cut_history(run.history_path, step)
        console = Console()
        self.bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("{task.fields[status]}"),
            console=console,
            disable=not console.is_terminal,  # a log gets a line an epoch instead
        )
        self.task = self.bar.add_task(
            f"train {run.recipe.name}", total=self.steps, completed=step, status=""
        )

    def on_train_batch_begin(self, batch, logs=None):
        # Dropout draws from PyTorch's own generator, which no checkpoint holds.
        if keras.backend.backend() == "torch":
            keras.utils.set_random_seed(self.run.recipe.seed + self.step)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.bar.update(self.task, completed=self.step)

    def on_epoch_end(self, epoch, logs=None):
        row = {
            "step": self.step,
            "seconds": round(time.monotonic() - self.started, 1),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        new = not self.run.history_path.is_file()
        with self.run.history_path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.run.checkpoint.parent.mkdir(exist_ok=True)
        temporary = self.run.checkpoint.with_name("next.keras")
        self.model.save(temporary)
        temporary.replace(self.run.checkpoint)
        error = row.get("val_point_error", row.get("point_error"))
        kind = "validation" if "val_point_error" in row else "training"
        shown = f"{error:.2f} mm" if error == error else "unknown: no spacing"
        status = f"loss {row['loss']:.4g}, {kind} point error {shown}"
        self.bar.update(self.task, status=status)
        if not self.bar.console.is_terminal:
            self.bar.console.print(f"step {self.step} of {self.steps}: {status}")


class _AveragedValidation(keras.callbacks.Callback):
    """Validates the averaged weights, and puts those that are trained back.

    `keras.callbacks.SwapEMAWeights` swaps by sums and differences on TensorFlow,
    which changes the last digits of what is trained.
    """

    def on_test_begin(self, logs=None):
        self.trained = self._weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        # On JAX, they now are the optimiser's arrays, which a step would give away.
        self._assign(self._weights())

    def on_test_end(self, logs=None):
        self._assign(self.trained)

    def _weights(self):
        return [
            keras.ops.convert_to_numpy(v.value) for v in self.model.trainable_variables
        ]

    def _assign(self, weights):
        for variable, value in zip(
            self.model.trainable_variables, weights, strict=True
        ):
            variable.assign(value)


def _cut_history(path: pathlib.Path, step: int) -> float:
    """Removes what was written after a step and returns the seconds up to there."""
    if not path.is_file():
        return 0.0
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    # A row that is cut off was being written when the run died.
    rows = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    if not rows:
        path.unlink()
        return 0.0
    kept = io.StringIO(newline="")
    csv.writer(kept).writerows([header, *rows])
    write_text(path, kept.getvalue())
    return float(rows[-1][1])
