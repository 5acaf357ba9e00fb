import keras

from scn_keras.layers.heatmap_product import HeatmapProduct
from scn_keras.layers.local_appearance import LocalAppearance
from scn_keras.layers.spatial_configuration import SpatialConfiguration


@keras.saving.register_keras_serializable(package="scn_keras")
class SpatialConfigurationNet(keras.Model):
    """SpatialConfiguration-Net: heatmaps as a product of appearance and configuration.

    A functional model from an image to one heatmap per landmark. With the default
    arguments and a 2D image it is the published network for cephalograms:
    6,348,070 parameters with 19 landmarks, 6,926,410 with 37. Its two inner
    heatmaps are the outputs of the layers `local_appearance` and
    `spatial_configuration`. Wrap it in `LandmarkModel` to train it on points.

    Reference: Payer, Štern, Bischof, Urschler: Integrating spatial configuration
    into heatmap regression based CNNs for landmark localization. Medical Image
    Analysis 54, 2019.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order; sizes may be
            `None`. They must be multiples of `2 ** (levels - 1)` and of
            `spatial_factor`.
        filters: Int, the filters of the local appearance network.
        levels: Int, the resolutions of the local appearance network.
        kernel_size: Int, the kernels of the local appearance network.
        dropout: Float, the dropout rate of the local appearance network.
        spatial_filters: Int or `None` for the same as `filters`.
        spatial_kernel_size: Int, the kernels of the spatial configuration network,
            in cells of `spatial_factor` pixels.
        spatial_factor: Int, the downsampling of the spatial configuration network.
        spatial_border: `"zero"` or `"replicate"`, see `Upsample`.
        heatmap_initializer: Float, the standard deviation from which the kernels
            of both heads start.

    Raises:
        ValueError: If an argument is out of its range or a size is not divisible.

    Example:

    >>> network = scn_keras.models.SpatialConfigurationNet(
    ...     5, (64, 64, 1), filters=8, spatial_kernel_size=5, spatial_factor=8
    ... )
    >>> network(np.zeros((1, 64, 64, 1), "float32")).shape[1:] == (64, 64, 5)
    True
    >>> inner = keras.Model(
    ...     network.input,
    ...     [network.get_layer(name).output
    ...      for name in ("local_appearance", "spatial_configuration")],
    ... )
    """

    def __init__(
        self,
        num_landmarks,
        image_shape=(None, None, 1),
        filters=128,
        levels=4,
        kernel_size=3,
        dropout=0.5,
        spatial_filters=None,
        spatial_kernel_size=11,
        spatial_factor=16,
        spatial_border="zero",
        heatmap_initializer=1e-4,
        dtype=None,
        **kwargs,
    ):
        image = keras.Input(tuple(image_shape), name="image")
        local_appearance = LocalAppearance(
            num_landmarks,
            filters=filters,
            levels=levels,
            dropout=dropout,
            kernel_size=kernel_size,
            heatmap_initializer=heatmap_initializer,
            dtype=dtype,
            name="local_appearance",
        )(image)
        spatial_configuration = SpatialConfiguration(
            filters=spatial_filters or filters,
            kernel_size=spatial_kernel_size,
            factor=spatial_factor,
            heatmap_initializer=heatmap_initializer,
            border=spatial_border,
            dtype=dtype,
            name="spatial_configuration",
        )(local_appearance)
        heatmaps = HeatmapProduct(name="heatmaps")(
            [local_appearance, spatial_configuration]
        )
        super().__init__(inputs=image, outputs=heatmaps, dtype=dtype, **kwargs)
        self.num_landmarks = num_landmarks
        self.image_shape = tuple(image_shape)
        self.filters = filters
        self.levels = levels
        self.kernel_size = kernel_size
        self.dropout = dropout
        self.spatial_filters = spatial_filters
        self.spatial_kernel_size = spatial_kernel_size
        self.spatial_factor = spatial_factor
        self.spatial_border = spatial_border
        self.heatmap_initializer = heatmap_initializer

    def get_config(self):
        return {
            "num_landmarks": self.num_landmarks,
            "image_shape": self.image_shape,
            "filters": self.filters,
            "levels": self.levels,
            "kernel_size": self.kernel_size,
            "dropout": self.dropout,
            "spatial_filters": self.spatial_filters,
            "spatial_kernel_size": self.spatial_kernel_size,
            "spatial_factor": self.spatial_factor,
            "spatial_border": self.spatial_border,
            "heatmap_initializer": self.heatmap_initializer,
            # Keras does not keep the `dtype` of a functional model.
            "dtype": keras.saving.serialize_keras_object(
                self.get_layer("local_appearance").dtype_policy
            ),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.saving.deserialize_keras_object(
                config["dtype"], custom_objects=custom_objects
            )
        return cls(**config)
