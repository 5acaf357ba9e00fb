import keras
from keras import ops

from scn_keras.layers._landmark_modulation import LandmarkModulation
from scn_keras.layers._spatial import convolution, he_normal
from scn_keras.layers.upsample import Upsample

# The size of a cell of the features, in samples of a glimpse along each axis.
CELL_SIZE = 2


class GlimpseNetwork(keras.layers.Layer):
    """Computes the heatmap of the finest of several glimpses, from all of them.

    Args:
        num_landmarks: Int, the number of landmarks.
        filters: Int, the number of filters of all convolutions.
        convolutions: Int, the number of convolutions per scale.
        dropout: Float, the share of features dropped in training.
        seed: Int or `None`, the seed of the dropout.

    Call arguments:
        inputs: List of `(batch * landmarks, *sizes, channels)`, from fine to coarse.

    Output shape:
        `(batch, *(sizes / 2), landmarks)`, logits in float32.
    """

    def __init__(
        self, num_landmarks, filters, convolutions, dropout=0.0, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_landmarks = num_landmarks
        self.filters = filters
        self.convolutions = convolutions
        self.dropout = dropout
        self.seed = seed

    def build(self, input_shape):
        sizes = tuple(input_shape[0][1:-1])
        cells = tuple(size // CELL_SIZE for size in sizes)
        self._hidden, self._modulations = [], []
        for scale in reversed(range(len(input_shape))):
            channels = input_shape[scale][-1]
            for number in range(self.convolutions):
                if self._joins(scale, number, len(input_shape)):
                    channels += self.filters
                name = f"scale_{scale}_{number}"
                layer = self._convolution(len(sizes), number == 0, name)
                layer.build((None, *(cells if number else sizes), channels))
                channels = self.filters
                modulation = LandmarkModulation(
                    self.num_landmarks, dtype=self.dtype_policy, name=f"{name}_landmark"
                )
                modulation.build((None, *cells, channels))
                self._hidden.append(layer)
                self._modulations.append(modulation)
        self._upsample = Upsample(2, dtype=self.dtype_policy, name="upsample")
        self._drop = keras.layers.Dropout(
            self.dropout,
            # Neighbouring cells have similar features: whole channels are dropped.
            noise_shape=(None, *[1] * len(sizes), self.filters),
            seed=self.seed,
            dtype=self.dtype_policy,
            name="dropout",
        )
        self.kernel = self.add_weight(
            shape=(self.num_landmarks, self.filters),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
            autocast=False,
            name="kernel",
        )
        self.built = True

    def call(self, inputs, training=False):
        layers = iter(zip(self._hidden, self._modulations, strict=True))
        coarser = None
        for scale in reversed(range(len(inputs))):
            x = inputs[scale]
            for number in range(self.convolutions):
                if self._joins(scale, number, len(inputs)):
                    x = ops.concatenate([x, self._central_half(coarser)], axis=-1)
                layer, modulation = next(layers)
                x = modulation(layer(x))
            coarser = x = self._drop(x, training=training)
        # Logits encode positions: float32, as for heatmaps.
        x = ops.cast(x, "float32")
        x = ops.reshape(x, (-1, self.num_landmarks, *x.shape[1:]))
        kernel = ops.reshape(
            self.kernel, (self.num_landmarks, *[1] * (len(x.shape) - 3), self.filters)
        )
        return ops.moveaxis(ops.sum(x * kernel, axis=-1), 1, -1)

    def compute_output_shape(self, input_shape):
        cells = (size // CELL_SIZE for size in input_shape[0][1:-1])
        return (None, *cells, self.num_landmarks)

    def _joins(self, scale, number, scales):
        return number == self.convolutions // 2 and scale < scales - 1

    def _convolution(self, rank, is_first, name):
        return convolution(
            rank,
            self.filters,
            # An even kernel, so that a cell is centred between its two samples.
            2 * CELL_SIZE if is_first else 3,
            strides=CELL_SIZE if is_first else 1,
            kernel_initializer=he_normal(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _central_half(self, x):
        """Returns the features of the next finer glimpse, upsampled."""
        cells = x.shape[1]
        # With one cell more at each end, which linear interpolation needs.
        index = slice(cells // 4 - 1, cells - cells // 4 + 1)
        rank = len(x.shape) - 2
        x = self._upsample(x[(slice(None), *[index] * rank)])
        return x[(slice(None), *[slice(2, -2)] * rank)]
