import keras

from scn_keras.layers.convolution_block import ConvolutionBlock
from scn_keras.layers.spatial_configuration import SpatialConfiguration
from scn_keras.layers.unet import UNet
from scn_keras.models.with_spatial_configuration import with_spatial_configuration


def scn_verse2019(
    num_landmarks=25,
    image_shape=(None, None, None, 1),
    filters=64,
    levels=4,
    dropout=0.5,
    spatial_kernel_size=7,
    spatial_factor=4,
    heatmap_initializer=1e-3,
    dtype=None,
    name="scn_verse2019",
):
    """SpatialConfiguration-Net for the vertebrae of VerSe 2019, in CT of 2 mm spacing.

    The local appearance is a convolution followed by a U-Net with dropout after every
    convolution. The spatial configuration is that of the other networks of 2019, at a
    quarter of the resolution. The network has 6,054,962 parameters with 25 landmarks in
    3D.

    Reference: Payer, Štern, Bischof, Urschler: the network that localises vertebrae
    in their entry to VerSe 2019 (Sekuboyina et al., Medical Image Analysis 73, 2021).

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `2 ** (levels - 1)` and of `spatial_factor`.
        filters: Int, the number of filters of every convolution.
        levels: Int, the number of resolutions of the U-Net.
        dropout: Float, the dropout rate after every convolution of the U-Net.
        spatial_kernel_size: Int, the kernel size of the spatial configuration, in
            downsampled pixels.
        spatial_factor: Int, the downsampling factor of the spatial configuration.
        heatmap_initializer: Float, the standard deviation of the initial kernels of
            both heads.
        dtype: The dtype or dtype policy of all layers that do not compute heatmaps.
        name: String, the name of the model.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not
            divisible as described for `image_shape`.

    Example:

    >>> network = scn_keras.models.scn_verse2019(5, filters=4, levels=2)
    >>> network(np.zeros((1, 8, 8, 8, 1), "float32")).shape[1:] == (8, 8, 8, 5)
    True
    """
    slope = 0.1
    image = keras.Input(tuple(image_shape), name="image")
    x = ConvolutionBlock(
        filters,
        1,
        negative_slope=slope,
        dtype=dtype,
        name="stem",
    )(image)
    x = UNet(
        filters,
        levels,
        negative_slope=slope,
        pooling="average",
        upsampling="linear",
        dropout=dropout,
        dropout_last=True,
        dtype=dtype,
        name="features",
    )(x)
    return with_spatial_configuration(
        keras.Model(image, x),
        num_landmarks,
        SpatialConfiguration(
            filters=filters,
            kernel_size=spatial_kernel_size,
            factor=spatial_factor,
            negative_slope=slope,
            heatmap_initializer=heatmap_initializer,
            dtype=dtype,
            name="spatial_configuration",
        ),
        kernel_size=3,
        heatmap_initializer=heatmap_initializer,
        name=name,
    )
