"""Test-time augmentation: the mean of the points in several views of an image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, apply_to_covariance, mixture

# Rotations in degrees and magnifications.
_VIEWS = ((0.0, 1.0), (3.0, 1.0), (-3.0, 1.0), (0.0, 1.05), (0.0, 1.0 / 1.05))


def test_time_views(grid: Sequence[int]) -> np.ndarray:
    """Returns the maps of test-time augmentation, beginning with the identity.

    Each map takes a grid that is rotated about its centre in the plane of x and y, by 3
    or -3 degrees, or scaled by 5 % up or down, to the original grid.

    Args:
        grid: Sequence of D ints, the sizes in array order.

    Returns:
        float32 array `(5, D + 1, D + 1)`.
    """
    d = len(grid)
    center = (np.array(grid[::-1]) - 1.0) / 2.0
    views = []
    for degrees, scale in _VIEWS:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        view = np.eye(d + 1)
        view[:2, :2] = [[cos, -sin], [sin, cos]]
        view[:d, :d] /= scale
        view[:d, d] = center - view[:d, :d] @ center
        views.append(view)
    return np.array(views, np.float32)


# Prevents pytest from collecting it, because its name begins with "test".
test_time_views.__test__ = False  # type: ignore[attr-defined]


def mean_of_views(
    peaks: Mapping[str, Any], views: np.ndarray | None, xp: Any = NUMPY
) -> tuple[Any, Any, Any]:
    """Returns points, scores and covariances over all views of each image.

    Points are weighted by score. The covariances include the variance between views,
    see `geometry.mixture`.

    Args:
        peaks: Output of a localizer with an axis of V views after that of images:
            `points` `(B, V, N, D)`, `score` `(B, V, N)`, `covariance`
            `(B, V, N, D, D)`.
        views: Result of `test_time_views`, or `None` for a single view.
        xp: The array namespace, see `scn_keras.array_api`.

    Returns:
        `(B, N, D)`, `(B, N)` and `(B, N, D, D)`, in pixels of the grid of the first
        view.
    """
    points, score, covariance = (
        peaks[name] for name in ("points", "score", "covariance")
    )
    if views is None:
        return points[:, 0], score[:, 0], covariance[:, 0]
    points, covariance = (
        apply_affine(views, points),
        apply_to_covariance(views, covariance),
    )
    return mixture(points, score, covariance, xp)
