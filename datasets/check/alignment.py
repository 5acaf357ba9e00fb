import dataclasses
from typing import NamedTuple

import numpy as np

from scn_keras.alignment import RobustWeights, fit_similarity, masked_median
from scn_keras.array_api import NUMPY
from scn_keras.geometry import apply_affine, spacing_of

_CAUCHY = RobustWeights(steps=14, power=1, tuning=1.5, floor=1e-12, lower_median=True)


class Alignment(NamedTuple):
    """Shapes aligned to one reference shape, each by its own robust similarity.

    Attributes:
        shapes: Array `(R, N, D)`, the aligned shapes.
        scale: Array `(R,)`, the scale factors of the similarities.
        rotation: Array `(R, D, D)`, `aligned = scale * shape @ rotation + offset`.
        distance: Array `(R,)`, the median distance of the landmarks to those of the
            reference; of an even number of landmarks the lower median.
    """

    shapes: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    distance: np.ndarray


def align_shapes(
    shapes: np.ndarray, reference: np.ndarray, steps: int = _CAUCHY.steps
) -> Alignment:
    """Aligns shapes to a reference by rotation, scaling and translation.

    Iteratively reweighted least squares with Cauchy weights: a few landmarks that are
    far off hardly rotate or move the others.

    Args:
        shapes: Array `(R, N, D)`, NaN for missing landmarks.
        reference: Array `(N, D)`, NaN likewise. The results are NaN for a shape that
            has fewer than two landmarks in common with it.
        steps: Int, the number of reweighted fits after the first one.

    Returns:
        `Alignment`.

    Example: a square, rotated by a right angle and twice as large.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> rotated = 2.0 * square @ [[0.0, 1.0], [-1.0, 0.0]]
    >>> align_shapes(rotated[None], square).scale.round(6)
    array([0.5])
    """
    d = shapes.shape[-1]
    robust = dataclasses.replace(_CAUCHY, steps=steps)
    affine = fit_similarity(shapes, reference, robust=robust)
    common = ~np.isnan(shapes + reference).any(axis=-1)
    undetermined = common.sum(axis=-1) < 2
    affine[undetermined] = np.nan
    aligned = apply_affine(affine, shapes)
    distance = np.linalg.norm(aligned - reference, axis=-1)
    scale = spacing_of(affine)[..., 0]
    linear = affine[..., :d, :d] / np.where(scale > 0.0, scale, 1.0)[:, None, None]
    median = masked_median(distance, common, _CAUCHY.lower_median, NUMPY)
    return Alignment(
        aligned,
        scale,
        np.swapaxes(linear, -1, -2),
        np.where(undetermined, np.nan, median),
    )
