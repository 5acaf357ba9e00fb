"""The formulas of all metrics, for NumPy arrays and for tensors.

`xp` is `numpy` or `keras.ops`. Each formula returns one value per point or image. NaN
means that it does not count.
"""


def distances(xp, y_true, y_pred):
    return xp.sqrt(xp.sum(xp.square(y_pred - y_true), axis=-1))


def within(xp, distance, radius, inclusive=False):
    near = distance <= radius if inclusive else distance < radius
    return _counted(xp, near, xp.logical_not(xp.isnan(distance)))


def outlier(xp, distance, radius):
    return 1.0 - within(xp, distance, radius)


def image_error(xp, distance, divide_by):
    counted = xp.logical_not(xp.isnan(distance))
    total = xp.sum(xp.where(counted, distance, 0.0), axis=-1)
    if divide_by == "all":
        return total / distance.shape[-1]
    count = xp.sum(xp.where(counted, 1.0, 0.0), axis=-1)
    return xp.where(count > 0, total / xp.maximum(count, 1.0), float("nan"))


def identified(xp, y_true, y_pred, radius):
    distance = distances(xp, y_true, y_pred)
    to_all = distances(xp, y_true[..., None, :, :], y_pred[..., :, None, :])
    to_all = xp.where(xp.isnan(to_all), float("inf"), to_all)
    correct = xp.logical_and(distance <= xp.min(to_all, axis=-1), distance <= radius)
    return _counted(xp, correct, _present(xp, y_true))


def presence_precision(xp, y_true, y_pred):
    return _counted(xp, _present(xp, y_true), _present(xp, y_pred))


def presence_recall(xp, y_true, y_pred):
    return _counted(xp, _present(xp, y_pred), _present(xp, y_true))


def _present(xp, points):
    return xp.logical_not(xp.any(xp.isnan(points), axis=-1))


def _counted(xp, value, counts):
    return xp.where(counts, xp.where(value, 1.0, 0.0), float("nan"))
