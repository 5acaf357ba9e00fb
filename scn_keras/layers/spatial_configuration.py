import keras

from scn_keras.layers._activations import HEATMAP_ACTIVATIONS
from scn_keras.layers._other_heatmaps import OtherHeatmaps
from scn_keras.layers._spatial import (
    PADDINGS,
    check_channels_known,
    check_choice,
    check_divisible,
    check_positive_integers,
    convolve,
    feature_convolution,
    heatmap_convolution,
    pooling,
    spatial_rank,
)
from scn_keras.layers.upsample import Upsample


@keras.saving.register_keras_serializable(package="scn_keras")
class SpatialConfiguration(keras.layers.Layer):
    """Computes spatial configuration heatmaps: unambiguous, but coarse.

    The only input are the responses of heatmaps, not the image. The heatmaps are pooled
    by `factor`, large kernels relate the landmarks to each other across the image, a
    tanh bounds the result, and a cubic filter upsamples it to full resolution. The
    product of input and output (`HeatmapProduct`) keeps the responses that agree with
    the positions of the other landmarks. The layer accepts the heatmaps of any network.

    Reference: the spatial configuration component of Payer et al., Medical Image
    Analysis 54, 2019, section 3.2.

    Args:
        num_landmarks: Int or `None`, the number of output heatmaps; `None` for the
            number of input heatmaps.
        filters: Int, the number of filters of every convolution except the last.
        kernel_size: Int, the size of every kernel, in pooled pixels.
        factor: Int, the pooling factor. Spatial sizes must be multiples of it.
        convolutions: Int, the number of convolutions before the last.
        negative_slope: Float, the negative slope of the LeakyReLU.
        heatmap_initializer: Float, the standard deviation of the truncated normal
            distribution that initialises the last kernel.
        border: The border of the upsampling, see `Upsample`.
        padding: `"zero"` or `"reflect"`, the padding of the convolutions.
        interpolation: The filter of the upsampling, see `Upsample`.
        activation: The function that bounds the output: `None`, `"tanh"`,
            `"abs_tanh"`, `"square_tanh"` (`tanh(x ** 2)`), `"inv_gauss"`
            (`1 - exp(-x ** 2)`), `"squash"` (a smoothed ramp from 4.5 to 5.5) or
            `"sigmoid"` (`sigmoid(x - 5)`).
        activate_last: Bool, whether the activation follows the upsampling.
        network: Layer or `None`, which computes features from the pooled heatmaps
            before the convolutions, at the same size; for example a `UNet`.
        own_heatmap: Bool, whether the spatial configuration of a landmark also depends
            on its own heatmap. `False` requires `convolutions=0` and no `network`: each
            landmark has one kernel on the heatmaps of all others.

    Input shape:
        `(batch, *spatial, landmarks)` with 1 to 3 spatial axes.

    Output shape:
        `(batch, *spatial, num_landmarks)`, float32; by default from -1 to 1 except for
        the overshoot of the cubic filter.

    Raises:
        ValueError: If an argument is out of its range, or a spatial size is not a
            multiple of `factor`.

    Example:

    >>> layer = scn_keras.layers.SpatialConfiguration(filters=8, factor=4)
    >>> layer(np.zeros((1, 32, 24, 5), "float32")).shape[1:] == (32, 24, 5)
    True
    """

    def __init__(
        self,
        num_landmarks=None,
        filters=128,
        kernel_size=11,
        factor=16,
        convolutions=3,
        negative_slope=0.1,
        heatmap_initializer=1e-4,
        border="zero",
        padding="zero",
        interpolation="cubic",
        activation="tanh",
        activate_last=False,
        network=None,
        own_heatmap=True,
        **kwargs,
    ):
        # Incoming heatmaps stay float32 until they are pooled.
        super().__init__(autocast=False, **kwargs)
        check_positive_integers(filters=filters, kernel_size=kernel_size, factor=factor)
        check_choice(PADDINGS, padding=padding)
        check_choice(HEATMAP_ACTIVATIONS, activation=activation)
        if not own_heatmap and (
            convolutions or network is not None or padding != "zero"
        ):
            raise ValueError(
                "`own_heatmap=False` is a single convolution of heatmaps. It requires "
                "`convolutions=0`, no `network` and `padding='zero'`. Received: "
                f"convolutions={convolutions}, network={network}, padding={padding!r}"
            )
        self.num_landmarks = num_landmarks
        self.filters = filters
        self.kernel_size = kernel_size
        self.factor = factor
        self.convolutions = convolutions
        self.negative_slope = negative_slope
        self.heatmap_initializer = heatmap_initializer
        self.border = border
        self.padding = padding
        self.interpolation = interpolation
        self.activation = activation
        self.activate_last = activate_last
        self.network = network
        self.own_heatmap = own_heatmap

    def build(self, input_shape):
        rank = spatial_rank(self, input_shape)
        check_channels_known(self, input_shape)
        check_divisible(self, input_shape, self.factor, "the pooling factor")
        landmarks = self.num_landmarks or input_shape[-1]
        function, _ = HEATMAP_ACTIVATIONS[self.activation]
        head = {
            "activation": None if self.activate_last else function,
            "name": "head",
        }
        self.pool = pooling(rank, self.factor, dtype="float32", name="pool")
        self.hidden = [
            feature_convolution(
                rank,
                self.filters,
                self.kernel_size,
                self.padding,
                self.negative_slope,
                self.dtype_policy,
                f"convolution_{i}",
            )
            for i in range(self.convolutions)
        ]
        if self.own_heatmap:
            self.head = heatmap_convolution(
                rank,
                landmarks,
                self.kernel_size,
                self.heatmap_initializer,
                padding=self.padding,
                **head,
            )
        elif landmarks == input_shape[-1]:
            self.head = OtherHeatmaps(
                self.kernel_size, self.heatmap_initializer, dtype="float32", **head
            )
        else:
            raise ValueError(
                f"Layer `{self.name}` with `own_heatmap=False` requires as many output "
                f"as input heatmaps. Received: num_landmarks={landmarks}, "
                f"input_shape={input_shape}"
            )
        self.up = Upsample(
            self.factor, self.interpolation, self.border, dtype="float32", name="up"
        )
        shape = (*([None] * (rank + 1)), input_shape[-1])
        self.pool.build(shape)
        if self.network is not None:
            if not self.network.built:
                self.network.build(shape)
            shape = self.network.compute_output_shape(shape)
        for layer in (*self.hidden, self.head):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.up.build((*([None] * (rank + 1)), landmarks))
        self.built = True

    def call(self, inputs, training=None):
        check_divisible(self, inputs.shape, self.factor, "the pooling factor")
        x = self.pool(inputs)
        if self.network is not None:
            x = self.network(x)  # Keras passes `training` to layers that accept it
        for layer in self.hidden:
            x = convolve(layer, x)
        x = self.up(convolve(self.head, x) if self.own_heatmap else self.head(x))
        return HEATMAP_ACTIVATIONS[self.activation][0](x) if self.activate_last else x

    def compute_output_spec(self, inputs, training=None):
        return keras.KerasTensor(
            self.compute_output_shape(inputs.shape), dtype="float32"
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_landmarks or input_shape[-1])

    def get_config(self):
        config = super().get_config()
        config.pop("autocast", None)
        return {
            **config,
            "num_landmarks": self.num_landmarks,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "factor": self.factor,
            "convolutions": self.convolutions,
            "negative_slope": self.negative_slope,
            "heatmap_initializer": self.heatmap_initializer,
            "border": self.border,
            "padding": self.padding,
            "interpolation": self.interpolation,
            "activation": self.activation,
            "activate_last": self.activate_last,
            "network": keras.saving.serialize_keras_object(self.network),
            "own_heatmap": self.own_heatmap,
        }

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config.get("network"))
        return cls(**{**config, "network": network})
