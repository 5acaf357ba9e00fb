import keras

from scn_keras.layers._activations import HEATMAP_ACTIVATIONS
from scn_keras.layers._spatial import check_choice
from scn_keras.layers.spatial_configuration import SpatialConfiguration
from scn_keras.layers.unet import UNet
from scn_keras.models.with_spatial_configuration import with_spatial_configuration


def scn_verse2020(
    num_landmarks=26,
    image_shape=(None, None, None, 1),
    filters=96,
    levels=4,
    dropout=0.25,
    spatial_factor=4,
    local_activation="tanh",
    spatial_activation="tanh",
    heatmap_initializer=None,
    dropout_last=True,
    dtype=None,
    name="scn_verse2020",
):
    """SpatialConfiguration-Net of two U-Nets, for the vertebrae of VerSe 2020.

    One U-Net computes the local appearance. A second U-Net with one convolution per
    block computes the spatial configuration at a quarter of the resolution, which is
    upsampled before its activation. Upsampling replicates the border. The network has
    7,044,628 parameters with 26 landmarks in 3D.

    Reference: Payer, Štern, Bischof, Urschler: Coarse to fine vertebrae localization
    and segmentation with SpatialConfiguration-Net and U-Net. VISAPP 2020, in the form
    of their entry to VerSe 2020.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `2 ** (levels - 1)` and of `spatial_factor *
            2 ** (levels - 1)`.
        filters: Int, the number of filters of every convolution.
        levels: Int, the number of resolutions of both U-Nets.
        dropout: Float, the dropout rate after every convolution of both U-Nets.
        spatial_factor: Int, the downsampling factor of the spatial configuration.
        local_activation: The activation of the local heatmaps, see
            `SpatialConfiguration`.
        spatial_activation: The activation of the spatial configuration heatmaps.
        heatmap_initializer: Float, the standard deviation of the initial kernels of
            both heads, or `None` for the authors' value of each activation: 1e-4 for
            `"abs_tanh"`, 0.05 for activations that are flat at 0, 1e-3 otherwise.
        dropout_last: Bool, whether dropout also follows the last convolution of a
            block, as in the authors' code. With `False`, the second U-Net has no
            dropout, as in recipes stored before this argument existed.
        dtype: The dtype or dtype policy of all layers that do not compute heatmaps.
        name: String, the name of the model.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not
            divisible as described for `image_shape`.

    Example:

    >>> network = scn_keras.models.scn_verse2020(5, filters=4, levels=2)
    >>> network(np.zeros((1, 8, 8, 8, 1), "float32")).shape[1:] == (8, 8, 8, 5)
    True
    """
    check_choice(
        HEATMAP_ACTIVATIONS,
        local_activation=local_activation,
        spatial_activation=spatial_activation,
    )
    local_stddev, spatial_stddev = (
        heatmap_initializer or HEATMAP_ACTIVATIONS[activation][1]
        for activation in (local_activation, spatial_activation)
    )

    def unet(convolutions, name):
        return UNet(
            filters,
            levels,
            convolutions,
            negative_slope=0.1,
            pooling="average",
            upsampling="linear",
            border="replicate",
            dropout=dropout,
            dropout_last=dropout_last,
            dtype=dtype,
            name=name,
        )

    image = keras.Input(tuple(image_shape), name="image")
    return with_spatial_configuration(
        keras.Model(image, unet(2, "features")(image)),
        num_landmarks,
        SpatialConfiguration(
            kernel_size=1,
            factor=spatial_factor,
            convolutions=0,
            heatmap_initializer=spatial_stddev,
            border="replicate",
            activation=spatial_activation,
            activate_last=True,
            network=unet(1, "spatial_features"),
            dtype=dtype,
            name="spatial_configuration",
        ),
        activation=local_activation,
        heatmap_initializer=local_stddev,
        name=name,
    )
