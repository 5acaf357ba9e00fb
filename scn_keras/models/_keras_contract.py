"""What Keras expects of a model beyond one device and `fit`."""

import keras
import numpy as np
from keras import ops

# The size of an axis of unknown length in the trial of a loss.
_ANY_SIZE = 4


class _Penalty(keras.losses.Loss):
    """A loss that is its second argument."""

    def call(self, y_true, y_pred):
        return y_pred


_PENALTY = _Penalty(name="penalty")


def share_of_replica(penalty):
    """Returns the share of a penalty that a replica adds to the loss.

    `tf.distribute` sums the losses of all replicas. Keras divides the values of its
    losses by the number of replicas, and so this one.
    """
    penalty = ops.reshape(penalty, (1,))  # Keras does not divide scalars
    return _PENALTY(penalty, penalty)


def input_signature(network):
    """Returns the argument `input_signature` of `keras.Model.export`."""
    image = network.inputs[0]
    shape = (None, *image.shape[1:])
    return [keras.InputSpec(shape=shape, dtype=image.dtype)]


def require_landmark_loss(model):
    """Validates that the loss of a model returns one value per image and landmark.

    A loss is tried once. Losses with other arguments (`on_points`, `on_votes`) are not
    tried.

    Raises:
        ValueError: If it returns another shape, such as `"mse"`.
    """
    loss, output_shape = model.loss, model.network.output_shape
    if loss is None or model.__dict__.get("_tried_loss") is loss:
        return
    landmarks, received = output_shape[-1], "several losses"
    if not isinstance(loss, (list, tuple, dict)):
        function = keras.losses.get(loss)
        if any(getattr(function, name, False) for name in ("on_points", "on_votes")):
            return
        sizes = [size or _ANY_SIZE for size in output_shape[1:]]
        heatmaps = ops.convert_to_tensor(np.ones((2, *sizes), "float32"))
        try:
            value = getattr(function, "call", function)(heatmaps, heatmaps)
        except Exception:  # of the loss itself, which the training will show
            model.__dict__["_tried_loss"] = loss  # Keras does not track this
            return
        shape = getattr(value, "shape", None)
        received = type(value).__name__ if shape is None else f"shape={tuple(shape)}"
        if shape is not None and tuple(shape) == (2, landmarks):
            model.__dict__["_tried_loss"] = loss
            return
    name = getattr(loss, "__name__", type(loss).__name__)
    name = loss if isinstance(loss, str) else name
    raise ValueError(
        f"The loss {name!r} must return one value for each image and landmark, "
        "(batch, landmarks), as those of scn_keras.losses do, so that missing "
        "landmarks can be excluded. "
        f"Received: {received} for 2 images and {landmarks} landmarks"
    )
