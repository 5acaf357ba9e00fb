import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutImages:
    """Points of n images, each located by a run that has not seen it, and the truth.

    Args:
        points: Array `(n, N, D)` in pixels of the grid that the network saw.
        score: Array `(n, N)`.
        covariance: Array `(n, N, D, D)` in squared pixels of the grid.
        truth: Array `(n, N, D)`, the true points in pixels of the same grids; NaN
            where missing.
        grid_to_space: Array `(n, D + 1, D + 1)`, from the grid to millimetres, or to
            the unit in which errors are measured.
        fold: Int array `(n,)`, the fold that each image was held out in.
    """

    points: np.ndarray
    score: np.ndarray
    covariance: np.ndarray
    truth: np.ndarray
    grid_to_space: np.ndarray
    fold: np.ndarray
