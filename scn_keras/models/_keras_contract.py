"""What Keras expects of a model beyond one device and `fit`."""

import keras
import numpy as np
from keras import ops

# The size of an axis of unknown length in the trial of a loss.
_ANY_SIZE = 16


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


def require_landmark_loss(loss, output_shape):
    """Validates that a loss returns one value per image and landmark.

    Losses with attributes of their own (`on_points`, `on_votes`) get other arguments
    and are not tried.

    Raises:
        ValueError: If it returns another shape, such as `"mse"`.
    """
    name = loss if isinstance(loss, str) else getattr(loss, "name", repr(loss))
    shape = None
    if loss is None:
        return
    if not isinstance(loss, (list, tuple, dict)):
        function = keras.losses.get(loss)
        if getattr(function, "on_points", False) or getattr(
            function, "on_votes", False
        ):
            return
        sizes = [size or _ANY_SIZE for size in output_shape[1:]]
        heatmaps = ops.convert_to_tensor(np.ones((2, *sizes), "float32"))
        call = getattr(function, "call", function)
        try:
            shape = tuple(call(heatmaps, heatmaps).shape)
        except Exception:  # of the loss itself, which the training will show
            return
        if shape == (2, output_shape[-1]):
            return
    raise ValueError(
        "The loss of a `LandmarkModel` must return one value per image and landmark, "
        "as those of `scn_keras.losses` do, such as `HeatmapSquaredError()`. Received: "
        f"loss={name!r}, which returns {'several losses' if shape is None else shape} "
        f"for 2 images and {output_shape[-1]} landmarks"
    )
