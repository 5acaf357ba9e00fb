"""Callbacks for the history, the checkpoints and the averaged weights of a training."""

import csv
import io
import pathlib
import time
from typing import Any

import keras
from rich import progress
from rich.console import Console

from scn_keras.files.atomic_write import write_text
from scn_keras.training.collapse import CollapseCheck, read_recoveries
from scn_keras.training.run import Run


class Recorder(keras.callbacks.Callback):
    """Writes a row of `history.csv` and then a checkpoint after each epoch.

    If a training is interrupted between the two, the history has an additional row,
    which `_cut_history` removes.

    After an epoch in which the training has collapsed, neither is written and the
    training ends. `collapse` is then the reason.

    Args:
        run: `Run`.
        step: Int, the number of steps so far.
        check: `CollapseCheck`.
        previous: `Recorder` of the part of the training before, or `None`. The time of
            a collapsed epoch counts.
    """

    def __init__(
        self,
        run: Run,
        step: int,
        check: CollapseCheck,
        previous: "Recorder | None" = None,
    ) -> None:
        super().__init__()
        self.run = run
        self.step = step
        self.steps = run.recipe.steps
        self.check = check
        self.collapse: str | None = None
        self.row: dict[str, float] = {}
        self.recoveries = len(read_recoveries(run.path))
        self.end = self.steps
        before = _cut_history(run.history_path, step)
        self.started = time.monotonic() - before
        if previous is not None:
            self.started = previous.started
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
            disable=not console.is_terminal,  # otherwise one line per epoch is printed
        )
        self.task = self.bar.add_task(
            f"train {run.recipe.name}", total=self.steps, completed=step, status=""
        )

    @property
    def stopped(self) -> bool:
        """Whether a callback has ended the training before step `end`."""
        return self.step < self.end

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Dropout uses PyTorch's own generator, whose state is not in the checkpoint.
        if keras.backend.backend() == "torch":
            keras.utils.set_random_seed(self.run.recipe.seed + self.step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        self.bar.update(self.task, completed=self.step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.row = row = {
            "step": self.step,
            "seconds": round(time.monotonic() - self.started, 1),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        self.collapse = self.check.reason(self.model, row.get("loss", 0.0))
        if self.collapse is not None:
            self.model.stop_training = True
            return
        _append(self.run.history_path, {**row, "recoveries": self.recoveries})
        self.run.checkpoint.parent.mkdir(exist_ok=True)
        temporary = self.run.checkpoint.with_name("next.keras")
        self.model.save(temporary)
        temporary.replace(self.run.checkpoint)
        status = _status(row)
        self.bar.update(self.task, status=status)
        if not self.bar.console.is_terminal:
            self.bar.console.print(f"step {self.step} of {self.steps}: {status}")


def _status(row: dict[str, float]) -> str:
    """Returns the loss and the error of an epoch; without a spacing, the losses."""
    error = row.get("val_point_error", row.get("point_error", float("nan")))
    status = f"loss {row['loss']:.4g}"
    if error == error:
        kind = "validation" if "val_point_error" in row else "training"
        return f"{status}, {kind} point error {error:.2f} mm"
    if "val_loss" in row:
        status += f", validation loss {row['val_loss']:.4g}"
    reason = " (no error in mm: no spacing)" * (row["loss"] == row["loss"])
    return status + reason


def _append(path: pathlib.Path, row: dict[str, float]) -> None:
    """Appends a row to the history, with the columns that it began with."""
    columns = list(row)
    if not (new := not path.is_file()):
        with path.open(newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), columns)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow(row)


class AveragedValidation(keras.callbacks.Callback):
    """Validates the averaged weights and restores the trained weights afterwards.

    `keras.callbacks.SwapEMAWeights` swaps weights by sums and differences on
    TensorFlow, which changes the last digits of the trained weights.
    """

    def on_test_begin(self, logs: Any = None) -> None:
        self.trained = self._weights()
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        # On JAX, the weights are now the optimiser's arrays, which a step would donate.
        self._assign(self._weights())

    def on_test_end(self, logs: Any = None) -> None:
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
    """Removes the rows after a step and returns the seconds up to that step."""
    if not path.is_file():
        return 0.0
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    # A truncated row was being written when the training was interrupted.
    rows = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    if not rows:
        path.unlink()
        return 0.0
    kept = io.StringIO(newline="")
    csv.writer(kept).writerows([header, *rows])
    write_text(path, kept.getvalue())
    return float(rows[-1][1])
