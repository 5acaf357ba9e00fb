import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scn_keras.inference.locator import HasLocalizer
    from scn_keras.training.input.source import Source
    from scn_keras.training.run import Run


class Method(abc.ABC):
    """What a recipe fits, where that is not a Keras network.

    A recipe names a subclass as `method="module:Class"` and its arguments in
    `method_settings`. Training, evaluation, prediction, calibration and
    cross-validation take its runs; commands that need a TensorFlow graph (export,
    serve, ensemble, preset) refuse them.

    Attributes:
        MODEL_FILE: Str, the file in the folder of a run that `fit` writes last. A run
            is finished when it is there.

    Example:

    ```python
    class MeanPoints(Method):
        MODEL_FILE = "mean.npy"

        def fit(self, run, source, callbacks=()):
            points = [y["points"] for _, y in source.plain()]
            np.save(run.path / self.MODEL_FILE, np.nanmean(np.concatenate(points), 0))

        def load(self, run):
            return Constant(np.load(run.path / self.MODEL_FILE))
    ```
    """

    MODEL_FILE = "model.npz"

    @abc.abstractmethod
    def fit(self, run: "Run", source: "Source", callbacks: Sequence[Any] = ()) -> None:
        """Fits on the images of a source and writes the model into the run.

        Args:
            run: `Run`, whose folder is `run.path` and whose recipe is `run.recipe`.
            source: `Source`. `source.plain()` is every training image once, as batches
                `(image, {"points", "affine"})` on the grid: points `(n, N, D)` in
                pixels of the grid, NaN where missing. `source.training(0)` is endless
                batches, augmented. `source.validation` is the images held out.
            callbacks: What the caller of `fit` gave.
        """

    @abc.abstractmethod
    def load(self, run: "Run") -> "HasLocalizer":
        """Returns what finds points on the grid, see `HasLocalizer`."""
