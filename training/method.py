import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scn_keras.inference.locator import HasLocalizer
    from scn_keras.training.input.source import Source
    from scn_keras.training.recipe import Recipe
    from scn_keras.training.run import Run


class Method(abc.ABC):
    """Base class of localisation methods other than Keras networks.

    A recipe refers to a subclass by `method="module:Class"` and to its arguments by
    `method_settings`. Training, evaluation, prediction, calibration and
    cross-validation accept runs of such recipes. Commands that require a TensorFlow
    graph (export, serve, ensemble, preset) do not.

    Attributes:
        MODEL_FILE: Str, the file in the folder of a run that `fit` writes last. A run
            is finished when this file exists.

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

    def validate(self, recipe: "Recipe") -> None:  # noqa: B027, an optional hook
        """Raises an error if the method cannot be fitted with a recipe.

        `fit` calls it before the folder of the run is created. By default every recipe
        is accepted.

        Args:
            recipe: `Recipe`.
        """

    @abc.abstractmethod
    def fit(self, run: "Run", source: "Source", callbacks: Sequence[Any] = ()) -> None:
        """Fits the method to the images of a source and writes the model to the run.

        Args:
            run: `Run` with the folder `run.path` and the recipe `run.recipe`.
            source: `Source`. `source.plain()` returns every training image once, in
                batches `(image, {"points", "affine"})` on the grid, with points
                `(n, N, D)` in pixels of the grid, NaN if missing. `source.training(0)`
                returns endless augmented batches. `source.validation` has the held-out
                images.
            callbacks: The callbacks given to `fit`.
        """

    @abc.abstractmethod
    def load(self, run: "Run") -> "HasLocalizer":
        """Returns the fitted model, see `HasLocalizer`."""
