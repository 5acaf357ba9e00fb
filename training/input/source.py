from typing import Any, Protocol

from scn_keras.datasets.identity.image_table import ImageTable
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.run import Run


class Source(Protocol):
    """Interface of the input of `fit`, see `StoredSource` and `ArraySource`."""

    schema: LandmarkSchema
    orientation: str
    validation: Any

    @property
    def images(self) -> tuple[ImageTable, ImageTable]: ...

    def place(self, run: Run) -> None: ...

    def training(self, first_step: int = 0) -> Any: ...

    def plain(self) -> Any: ...
