import math

import keras
from keras import ops


class PointMetric(keras.Metric):
    """Base class of metrics on points: validates, masks and selects the landmark.

    A subclass computes the values of points in `values` and accumulates them in
    `update`. The default name of the metric is `default_name` and the landmark.
    """

    def __init__(self, default_name, landmark=None, name=None, dtype=None):
        if landmark is not None and not (isinstance(landmark, int) and landmark >= 0):
            raise ValueError(
                "`landmark` must be the index of a landmark, or `None` for all. "
                f"Received: landmark={landmark}"
            )
        suffix = "" if landmark is None else f"_{landmark}"
        super().__init__(name=name or default_name + suffix, dtype=dtype)
        self.landmark = landmark

    def values(self, y_true, y_pred):
        """Returns a value for each point `(batch, landmarks)`, NaN if not counted."""
        raise NotImplementedError

    def update(self, values, weight):
        """Accumulates values with weights of the same shape."""
        raise NotImplementedError

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = (
            ops.cast(ops.convert_to_tensor(y), "float32") for y in (y_true, y_pred)
        )
        if y_true.shape[1:] != y_pred.shape[1:] or len(y_true.shape) != 3:
            raise ValueError(
                "True and predicted points must have one shape (batch, landmarks, "
                f"dimensions). Received: y_true.shape={tuple(y_true.shape)}, "
                f"y_pred.shape={tuple(y_pred.shape)}"
            )
        values = self.values(y_true, y_pred)
        counted = ops.logical_not(ops.isnan(values))
        weight = ops.cast(counted, "float32")
        if sample_weight is not None:
            sample_weight = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
            if len(sample_weight.shape) > len(values.shape):
                raise ValueError(
                    f"`{self.name}` accepts one weight per image. Received: "
                    f"sample_weight.shape={tuple(sample_weight.shape)}"
                )
            if len(sample_weight.shape) < len(values.shape):
                sample_weight = sample_weight[:, None]
            weight = weight * sample_weight
        values = ops.where(counted, values, 0.0)
        if self.landmark is not None:
            if self.landmark >= values.shape[-1]:
                raise ValueError(
                    f"`landmark` must be below the number of landmarks, "
                    f"{values.shape[-1]}. Received: landmark={self.landmark}"
                )
            chosen = slice(self.landmark, self.landmark + 1)
            values, weight = values[:, chosen], weight[:, chosen]
        self.update(values, weight)

    def get_config(self):
        return {**super().get_config(), "landmark": self.landmark}


class MeanOverPoints(PointMetric):
    """Base class of metrics that are the mean of one value per point.

    The result is NaN if no point counts, so that images without a spacing do not have
    an error of 0 mm.
    """

    def __init__(self, default_name, landmark=None, name=None, dtype=None):
        super().__init__(default_name, landmark, name, dtype)
        self.total = self.add_variable(shape=(), initializer="zeros", name="total")
        self.count = self.add_variable(shape=(), initializer="zeros", name="count")

    def update(self, values, weight):
        self.total.assign_add(ops.sum(values * weight))
        self.count.assign_add(ops.sum(weight))

    def result(self):
        mean = ops.divide_no_nan(self.total, self.count)
        return ops.where(self.count > 0.0, mean, math.nan)
