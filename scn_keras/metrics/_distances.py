from keras import ops


def point_distances(y_true, y_pred, sample_weight=None):
    """Returns distances `(batch, landmarks)` and their weights, 0 where missing."""
    y_true = ops.cast(y_true, "float32")
    y_pred = ops.cast(y_pred, "float32")
    if y_true.shape[1:] != y_pred.shape[1:]:
        raise ValueError(
            "True and predicted points must have one shape (batch, landmarks, "
            f"dimensions). Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    squared = ops.sum(ops.square(y_pred - y_true), axis=-1)
    present = ops.logical_not(ops.isnan(squared))
    distance = ops.sqrt(ops.where(present, squared, 0.0))
    weight = ops.cast(present, "float32")
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, "float32")
        if len(sample_weight.shape) == 1:
            sample_weight = sample_weight[:, None]
        weight = weight * sample_weight
    return distance, weight
