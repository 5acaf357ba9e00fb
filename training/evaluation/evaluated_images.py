"""The images of an evaluation, from a prepared data set or from a folder."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import tensorflow as tf


class EvaluatedImages(Protocol):
    """Images on which a model is evaluated, see `PreparedSplit` and `FolderSplit`.

    Attributes:
        name: Str, the name of results on these images.
    """

    name: str

    @property
    def truths(self) -> tuple[str | None, ...]:
        """The truths with which predictions are compared."""

    def true_points(self, sample: Mapping[str, Any], truth: str | None) -> np.ndarray:
        """Returns the points `(N, D)` of a sample, NaN for missing ones."""

    def samples(self) -> tf.data.Dataset:
        """Returns dicts of `id`, `group`, `image` `(*sizes, 1)` and `affine`."""
