"""Sources of the batches of a training."""

import pathlib
from typing import Any, Protocol

from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.input.array_source import ArraySource
from scn_keras.training.recipe import Recipe
from scn_keras.training.run import Run


class Source(Protocol):
    """Interface of the input of `fit`, see `StoredSource` and `ArraySource`."""

    schema: LandmarkSchema
    validation: Any

    def place(self, run: Run) -> None: ...

    def training(self, first_step: int = 0) -> Any: ...

    def plain(self) -> Any: ...


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
