import itertools
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import progress
from rich.console import Console

from scn_keras import classical
from scn_keras._references import checked_arguments
from scn_keras.training.method import Method

if TYPE_CHECKING:
    from scn_keras.inference.locator import HasLocalizer
    from scn_keras.training.input.source import Source
    from scn_keras.training.recipe import Recipe
    from scn_keras.training.run import Run

KINDS = (
    "ActiveShapeModel",
    "DonnerCandidates",
    "EbnerForest",
    "LindnerForest",
    "SternForest",
)


class ClassicalMethod(Method):
    """A method of `scn_keras.classical` in a recipe.

    It is fitted to every training image once. With an augmentation, it is fitted to the
    images of `steps` augmented batches instead. Held-out images are not used.

    An interrupted training continues with the first forest that is not finished;
    `ActiveShapeModel`, which is fitted in seconds, begins again. Keras callbacks are
    not supported.

    Args:
        kind: Str, a class of `scn_keras.classical`: one of `KINDS`, such as
            `"LindnerForest"`.
        **settings: Arguments of this class. Its `seed` is that of the recipe.

    Raises:
        ValueError: If the class does not exist or does not accept the arguments.

    Example:

    ```python
    Recipe(
        name="hand_ebner",
        dataset="hand_xray",
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "EbnerForest", "trees": 30},
        augmentation=None,
    )
    ```
    """

    def __init__(self, kind: str, **settings: Any) -> None:
        if kind not in KINDS:
            raise ValueError(
                f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind!r}"
            )
        self._class = getattr(classical, kind)
        checked_arguments(self._class, settings, "method_settings", ("seed",))
        self._class(**settings)  # for the errors of its values
        self._settings = settings

    def validate(self, recipe: "Recipe") -> None:
        """Raises an error for settings that the method would not use.

        Raises:
            ImportError: If scikit-learn is not installed.
            ValueError: If the recipe has callbacks or initial weights.
        """
        classical.require_scikit_learn()
        for name, value in (("callbacks", recipe.callbacks), ("start", recipe.start)):
            if value:
                raise ValueError(
                    f"`{name}` is for networks only. Omit it for "
                    f"{self._class.__name__}. Received: {name}={value!r}"
                )

    def fit(self, run: "Run", source: "Source", callbacks: Sequence[Any] = ()) -> None:
        if callbacks:
            raise ValueError(
                f"{self._class.__name__} does not support Keras callbacks. "
                f"Received: callbacks={callbacks!r}"
            )
        images, points = _training_data(run.recipe, source)
        model = self._class(**self._settings, seed=run.recipe.seed)
        parts = run.path / "parts"
        with _Bar(run.recipe.name) as bar:
            model.fit(images, points, parts, bar.update)
        model.save(run.path / self.MODEL_FILE)
        if parts.exists():
            shutil.rmtree(parts)

    def load(self, run: "Run") -> "HasLocalizer":
        return self._class.load(run.path / self.MODEL_FILE)


def _training_data(recipe, source):
    """Returns images `(n, *grid)` and points `(n, N, D)` as NumPy arrays."""
    batches = source.plain()
    if recipe.augmentation is not None:
        batches = itertools.islice(source.training(0), recipe.steps)
    images, points = [], []
    for image, y in batches:
        images.append(np.asarray(image, "float32")[..., 0])
        points.append(np.asarray(y["points"], "float32"))
    return np.concatenate(images), np.concatenate(points)


class _Bar:
    """Shows the number of fitted parts, outside of terminals in a few lines."""

    def __init__(self, name):
        self._console = Console()
        self._start = time.monotonic()
        self._printed = 0.0
        self._bar = progress.Progress(
            progress.TextColumn("[bold]{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(f"train {name}", total=None)

    def update(self, done, total):
        self._bar.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and done >= self._printed + 0.1 * total:
            self._printed = done
            seconds = time.monotonic() - self._start
            self._console.print(f"part {done} of {total}: {seconds:.0f} s")

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *error):
        self._bar.stop()
