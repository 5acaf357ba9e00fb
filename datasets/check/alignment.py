from typing import NamedTuple

import numpy as np


class Alignment(NamedTuple):
    """Shapes laid over one shape by the similarity transform that fits each best.

    Attributes:
        shapes: Array `(R, N, D)`, the shapes after it.
        scale: Array `(R,)`, by which they grew.
        rotation: Array `(R, D, D)`, `aligned = scale * shape @ rotation + offset`.
        distance: Array `(R,)`, the median distance of the landmarks to those of the
            shape; of an even number the lower one.
    """

    shapes: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    distance: np.ndarray


def align(shapes: np.ndarray, onto: np.ndarray, iterations: int = 15) -> Alignment:
    """Lays shapes over a shape by moving, turning and scaling, never by mirroring.

    Robust: least squares (Procrustes), repeated with the weights 1 / (1 + (d / s)^2),
    s being 1.5 times the median of the distances d of a shape. A few landmarks that
    are far off hardly turn or move the others.

    Args:
        shapes: Array `(R, N, D)`, NaN for missing landmarks; at least two of each
            must be in `onto` as well.
        onto: Array `(N, D)`, NaN likewise.
        iterations: Int, how often it is repeated.

    Returns:
        `Alignment`.

    Example: a square, turned by a right angle and twice as large.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> turned = 2.0 * square @ [[0.0, 1.0], [-1.0, 0.0]]
    >>> align(turned[None], square).scale.round(6)
    array([0.5])
    """
    here = ~np.isnan(shapes).any(axis=-1) & ~np.isnan(onto).any(axis=-1)
    onto = np.nan_to_num(onto)
    middle = (here.sum(axis=1, keepdims=True) - 1) // 2
    weights = here.astype(np.float64)
    for _ in range(iterations):
        aligned, scale, rotation = _procrustes(shapes, onto, weights)
        distance = np.where(here, np.linalg.norm(aligned - onto, axis=-1), np.nan)
        # `nanmedian` takes ten times as long. NaNs are sorted to the end.
        median = np.take_along_axis(np.sort(distance, axis=1), middle, axis=1)
        ratio = np.nan_to_num(distance / np.maximum(1.5 * median, 1e-12))
        weights = here / (1.0 + np.square(ratio))
    return Alignment(aligned, scale, rotation, median[:, 0])


def _procrustes(shapes, onto, weights):
    weights = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    filled = np.nan_to_num(shapes)
    center = (weights * onto).sum(axis=1, keepdims=True)
    source = filled - (weights * filled).sum(axis=1, keepdims=True)
    u, singular, vt = np.linalg.svd(
        np.swapaxes(weights * source, 1, 2) @ (onto - center)
    )
    # A product of determinant -1 would mirror: turn its weakest axis around.
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    u[:, :, -1] *= sign[:, None]
    singular[:, -1] *= sign
    rotation = u @ vt
    spread = (weights * np.square(source)).sum(axis=(1, 2))
    scale = singular.sum(axis=1) / np.maximum(spread, 1e-30)
    aligned = scale[:, None, None] * (source @ rotation) + center
    aligned[np.isnan(shapes).any(axis=-1)] = np.nan
    return aligned, scale, rotation
