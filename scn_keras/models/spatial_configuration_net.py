import keras

from scn_keras.layers._spatial import reduce_image
from scn_keras.layers.heatmap_product import HeatmapProduct
from scn_keras.layers.local_appearance import LocalAppearance
from scn_keras.layers.spatial_configuration import SpatialConfiguration
from scn_keras.models._configured_model import ConfiguredModel


@keras.saving.register_keras_serializable(package="scn_keras")
class SpatialConfigurationNet(ConfiguredModel):
    """SpatialConfiguration-Net: the product of local appearance and configuration.

    It is a functional model from an image to one heatmap per landmark. With the default
    arguments and a 2D image it is the published network for cephalograms, with
    6,348,070 parameters for 19 landmarks and 6,926,410 for 37. `spine` is the published
    3D network. The factors of the product are the outputs of the layers
    `local_appearance` and `spatial_configuration`. Wrap the network in `LandmarkModel`
    to train it on points.

    Reference: Payer, Štern, Bischof, Urschler: Integrating spatial configuration
    into heatmap regression based CNNs for landmark localization. Medical Image
    Analysis 54, 2019.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `stride * 2 ** (levels - 1)` and of
            `stride * spatial_factor`.
        filters: Int, the number of filters of the local appearance network.
        levels: Int, the number of resolutions of the local appearance network.
        kernel_size: Int, the kernel size of the local appearance network.
        dropout: Float, the dropout rate of the local appearance network.
        spatial_filters: Int, the number of filters of the spatial configuration
            network, or `None` for the value of `filters`.
        spatial_kernel_size: Int, the kernel size of the spatial configuration network,
            in downsampled pixels.
        spatial_factor: Int, the downsampling factor of the spatial configuration
            network.
        spatial_border: `"zero"` or `"replicate"`, see `Upsample`.
        heatmap_initializer: Float, the standard deviation of the initial kernels of
            both heads.
        padding: `"zero"` or `"reflect"`, the padding of all convolutions except the
            first and the local head, which are padded with zeros.
        stride: Int, the ratio of the image's to the heatmaps' resolution. If it is
            above 1, a strided convolution with kernels of twice the stride precedes the
            network. Image details are kept as features at a fraction of the computing
            time. `LandmarkModel` uses the attribute `heatmap_stride`. Not part of the
            publication.
        dtype: The dtype or dtype policy of all layers that do not compute heatmaps.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not
            divisible as described for `image_shape`.

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
        padding="zero",
        stride=1,
        dtype=None,
        **kwargs,
    ):
        arguments = {
            "num_landmarks": num_landmarks,
            "image_shape": tuple(image_shape),
            "filters": filters,
            "levels": levels,
            "kernel_size": kernel_size,
            "dropout": dropout,
            "spatial_filters": spatial_filters,
            "spatial_kernel_size": spatial_kernel_size,
            "spatial_factor": spatial_factor,
            "spatial_border": spatial_border,
            "heatmap_initializer": heatmap_initializer,
            "padding": padding,
            "stride": stride,
        }
        image = keras.Input(tuple(image_shape), name="image")
        x = reduce_image(image, filters, stride, 0.1, dtype)
        local_appearance = LocalAppearance(
            num_landmarks,
            filters=filters,
            levels=levels,
            dropout=dropout,
            kernel_size=kernel_size,
            heatmap_initializer=heatmap_initializer,
            padding=padding,
            dtype=dtype,
            name="local_appearance",
        )(x)
        spatial_configuration = SpatialConfiguration(
            filters=spatial_filters or filters,
            kernel_size=spatial_kernel_size,
            factor=spatial_factor,
            heatmap_initializer=heatmap_initializer,
            border=spatial_border,
            padding=padding,
            dtype=dtype,
            name="spatial_configuration",
        )(local_appearance)
        heatmaps = HeatmapProduct(name="heatmaps")(
            [local_appearance, spatial_configuration]
        )
        super().__init__(image, heatmaps, dtype, arguments, **kwargs)
        self.heatmap_stride = stride

    @classmethod
    def cephalogram(cls, num_landmarks=19, image_shape=(None, None, 1), **options):
        """Returns the network for cephalograms of 512 x 512 pixels."""
        return cls(num_landmarks, image_shape, **options)

    @classmethod
    def hand(cls, num_landmarks=37, image_shape=(None, None, 1), **options):
        """Returns the network for hand radiographs, the same as for cephalograms."""
        return cls(num_landmarks, image_shape, **options)

    @classmethod
    def spine(cls, num_landmarks=26, image_shape=(None, None, None, 1), **options):
        """Returns the 3D network for spine CT of 192 x 96 x 96 voxels (z, y, x)."""
        published = {
            "filters": 64,
            "spatial_kernel_size": 7,
            "spatial_factor": 8,
            "heatmap_initializer": 1e-3,
            "padding": "reflect",
        }
        return cls(num_landmarks, image_shape, **{**published, **options})
