import keras

from scn_keras.layers.convolution_block import ConvolutionBlock
from scn_keras.layers.spatial_configuration import SpatialConfiguration
from scn_keras.models.with_spatial_configuration import with_spatial_configuration


def scn_miccai2016(
    num_landmarks=37,
    image_shape=(None, None, 1),
    filters=128,
    kernel_size=5,
    spatial_kernel_size=15,
    spatial_factor=8,
    heatmap_initializer=1e-4,
    dtype=None,
    name="scn_miccai2016",
):
    """The first SpatialConfiguration-Net, for hand radiographs of 256 x 256 pixels.

    Three convolutions and a head compute the local appearance. The spatial
    configuration of each landmark is computed by one large kernel from the local
    heatmaps of all other landmarks and upsampled linearly. The network has 1,240,958
    parameters with 37 landmarks.

    Reference: Payer, Štern, Bischof, Urschler: Regressing heatmaps for multiple
    landmark localization using CNNs. MICCAI 2016.

    Args:
        num_landmarks: Int, the number of landmarks, at least 2.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `spatial_factor`.
        filters: Int, the number of filters of the local convolutions.
        kernel_size: Int, the kernel size of the local convolutions and the local head.
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

    >>> network = scn_keras.models.scn_miccai2016(5, filters=8)
    >>> network(np.zeros((1, 64, 64, 1), "float32")).shape[1:] == (64, 64, 5)
    True
    """
    image = keras.Input(tuple(image_shape), name="image")
    features = ConvolutionBlock(filters, 3, kernel_size, dtype=dtype, name="features")
    return with_spatial_configuration(
        keras.Model(image, features(image)),
        num_landmarks,
        SpatialConfiguration(
            kernel_size=spatial_kernel_size,
            factor=spatial_factor,
            convolutions=0,
            heatmap_initializer=heatmap_initializer,
            interpolation="linear",
            activation=None,
            own_heatmap=False,
            dtype=dtype,
            name="spatial_configuration",
        ),
        kernel_size=kernel_size,
        heatmap_initializer=heatmap_initializer,
        name=name,
    )
