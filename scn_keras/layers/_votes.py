import keras
from keras import ops


class Votes(keras.layers.Layer):
    """Combines the outputs of two heads into votes, see `PatchVote`.

    Presence `(batch, *patches, landmarks)` and displacement `(batch, *patches,
    landmarks * D)` become votes `(batch, *patches, landmarks, 1 + D)`.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)

    def call(self, presence, displacement):
        rank = len(presence.shape) - 2
        patches, landmarks = ops.shape(presence)[1:-1], presence.shape[-1]
        displacement = ops.reshape(displacement, (-1, *patches, landmarks, rank))
        return ops.concatenate([presence[..., None], displacement], axis=-1)

    def compute_output_shape(self, presence_shape, displacement_shape):
        return (*presence_shape, len(presence_shape) - 1)
