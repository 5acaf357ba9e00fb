import keras
from keras import ops


class LandmarkModulation(keras.layers.Layer):
    """Scales and shifts the features of each landmark, followed by ReLU.

    A network whose weights are shared by all landmarks is thereby adapted to each.

    Args:
        num_landmarks: Int, the number of landmarks.

    Input shape:
        `(batch * landmarks, *spatial, channels)`, landmarks faster than images.

    Output shape:
        The input shape.
    """

    def __init__(self, num_landmarks, **kwargs):
        super().__init__(**kwargs)
        self.num_landmarks = num_landmarks

    def build(self, input_shape):
        shape = (self.num_landmarks, *[1] * (len(input_shape) - 2), input_shape[-1])
        # Landmarks are distinct from the first step on.
        self.scale = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(1.0, 0.1),
            name="scale",
        )
        self.shift = self.add_weight(shape=shape, initializer="zeros", name="shift")
        self.built = True

    def call(self, inputs):
        shape = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, self.num_landmarks, *shape[1:]))
        x = ops.relu(x * self.scale + self.shift)
        return ops.reshape(x, (-1, *shape[1:]))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)
