import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class StoredWeight:
    """A weight of a network and the arrays of a checkpoint that define it.

    Attributes:
        variable: Keras variable.
        shapes: Dict from the names of arrays in the checkpoint to their shapes.
        value: Callable that computes the value of the variable from these arrays, in
            the order of `shapes`.
    """

    variable: Any
    shapes: Mapping[str, tuple[int, ...]]
    value: Callable[..., np.ndarray]


def same(variable: Any, name: str) -> StoredWeight:
    """Returns a weight that is stored as it is."""
    return StoredWeight(variable, {name: tuple(variable.shape)}, lambda array: array)
