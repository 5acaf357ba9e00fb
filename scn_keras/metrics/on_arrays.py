"""The metrics as functions of NumPy arrays, for evaluation, in float64.

Points are `(images, landmarks, D)`, distances `(images, landmarks)`, NaN where a
landmark is missing. Functions with an `axis` return one number over all images and
landmarks by default and one number per landmark with `axis=0`. The number is NaN if
no value counts.
"""

import numpy as np

from scn_keras.metrics import _formulas

Number = float | np.ndarray


def point_distances(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns distances, NaN where the true or the predicted landmark is missing.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> point_distances([[[0.0, 0.0], [0.0, 0.0]]], [[[3.0, 4.0], [np.nan, 0.0]]])
    array([[ 5., nan]])
    """
    return _formulas.distances(np, *_pair(true, found))


def point_error(distances: np.ndarray, axis: int | None = None) -> Number:
    """Returns the mean of distances."""
    return _mean(distances, axis)


def point_error_deviation(distances: np.ndarray, axis: int | None = None) -> Number:
    """Returns the population standard deviation of distances.

    Example:

    >>> float(point_error_deviation([[5.0, 9.0, np.nan]]))
    2.0
    """
    distances = np.asarray(distances, np.float64)
    mean = _mean(distances, axis)
    return np.sqrt(_mean(np.square(distances - mean), axis))


def point_error_percentile(
    distances: np.ndarray, percentile: float = 50.0, axis: int | None = None
) -> Number:
    """Returns a percentile of distances, interpolated linearly; the median by default.

    Example:

    >>> float(point_error_percentile([[1.0, 2.0, np.nan, 4.0, 8.0]]))
    3.0
    """
    distances = np.asarray(distances, np.float64)
    if axis is None:
        distances, axis = distances.reshape(-1), 0

    def of_column(column):
        column = column[~np.isnan(column)]
        return np.percentile(column, percentile) if column.size else np.nan

    return np.apply_along_axis(of_column, axis, distances)[()]


def image_point_error(distances: np.ndarray, divide_by: str = "present") -> np.ndarray:
    """Returns each image's mean distance, `(images,)`, see `ImagePointError`.

    Example:

    >>> image_point_error([[5.0, 1.0], [4.0, np.nan]], divide_by="all")
    array([3., 2.])
    """
    return _formulas.image_error(np, np.asarray(distances, np.float64), divide_by)


def success_detection_rate(
    distances: np.ndarray,
    radius: float,
    inclusive: bool = False,
    axis: int | None = None,
) -> Number:
    """Returns the fraction of distances below a radius, from 0 to 1.

    With `inclusive`, distances equal to the radius also count as success.

    Example:

    >>> float(success_detection_rate([[1.0, 2.0, 3.0, np.nan]], 3.0, inclusive=True))
    1.0
    """
    distances = np.asarray(distances, np.float64)
    return _mean(_formulas.within(np, distances, radius, inclusive), axis)


def outlier_count(
    distances: np.ndarray, radius: float, axis: int | None = None
) -> int | np.ndarray:
    """Returns the number of distances of at least `radius`.

    Example:

    >>> int(outlier_count([[1.0, 2.0, 3.0, np.nan]], 2.0))
    2
    """
    distances = np.asarray(distances, np.float64)
    outliers = np.nansum(_formulas.outlier(np, distances, radius), axis=axis)
    return outliers.astype(int)


def identification_rate(
    true: np.ndarray,
    found: np.ndarray,
    radius: float = 20.0,
    axis: int | None = None,
) -> Number:
    """Returns the fraction of identified landmarks, see `IdentificationRate`."""
    true, found = _pair(true, found)
    return _mean(_formulas.identified(np, true, found, radius), axis)


def presence_precision(
    true: np.ndarray, found: np.ndarray, axis: int | None = None
) -> Number:
    """Returns the fraction of predicted landmarks that are present."""
    return _mean(_formulas.presence_precision(np, *_pair(true, found)), axis)


def presence_recall(
    true: np.ndarray, found: np.ndarray, axis: int | None = None
) -> Number:
    """Returns the fraction of present landmarks that are predicted."""
    return _mean(_formulas.presence_recall(np, *_pair(true, found)), axis)


def _pair(true, found):
    true, found = np.asarray(true, np.float64), np.asarray(found, np.float64)
    if true.shape != found.shape:
        raise ValueError(
            "True and predicted points must have one shape (images, landmarks, "
            f"dimensions). Received: true.shape={true.shape}, found.shape={found.shape}"
        )
    return true, found


def _mean(values, axis):
    values = np.asarray(values, np.float64)
    counted = ~np.isnan(values)
    total = np.where(counted, values, 0.0).sum(axis=axis)
    count = counted.sum(axis=axis)
    # Unlike np.nanmean, this does not warn if no value counts.
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)[()]
