import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutImages:
    """Predicted and true points of n images that were held out from training.

    Args:
        points: Array `(n, N, D)`, the points predicted by a run that was not trained
            with the image, in pixels of the network's grid.
        score: Array `(n, N)`.
        covariance: Array `(n, N, D, D)` in squared pixels of the grid.
        truth: Array `(n, N, D)`, the true points in pixels of the same grids; NaN if
            missing.
        grid_to_space: Array `(n, D + 1, D + 1)`, from the grid to millimetres, or to
            another unit in which errors are measured.
        fold: Int array `(n,)`, the fold from whose training the image was held out.
    """

    points: np.ndarray
    score: np.ndarray
    covariance: np.ndarray
    truth: np.ndarray
    grid_to_space: np.ndarray
    fold: np.ndarray

    @classmethod
    def stack(
        cls,
        images: Sequence[Mapping[str, Any]],
        fold: np.ndarray | int | None = None,
    ) -> "HeldOutImages":
        """Stacks images that are dicts with the fields of this class.

        Args:
            images: Sequence of mappings, with further entries or without.
            fold: The fold of each image, or of all; `None` for the entries `fold`.
        """
        fields = {
            field.name: np.array([image[field.name] for image in images])
            for field in dataclasses.fields(cls)
            if fold is None or field.name != "fold"
        }
        if fold is not None:
            fields["fold"] = np.broadcast_to(fold, len(images))
        return cls(**fields)

    def select(self, rows: np.ndarray) -> "HeldOutImages":
        """Returns some of the images, by an index of the first axis."""
        return HeldOutImages(
            **{
                field.name: getattr(self, field.name)[rows]
                for field in dataclasses.fields(self)
            }
        )
