import keras

from scn_keras.layers.spatial_configuration import SpatialConfiguration
from scn_keras.layers.unet import UNet
from scn_keras.models.with_spatial_configuration import with_spatial_configuration


def scn_mmwhs(
    num_landmarks=37,
    image_shape=(None, None, 1),
    filters=128,
    levels=4,
    spatial_kernel_size=5,
    spatial_factor=8,
    heatmap_initializer=1e-4,
    dtype=None,
    name="scn_mmwhs",
):
    """SpatialConfiguration-Net with a U-Net, as the authors used it for whole hearts.

    The local appearance is a U-Net (average pooling, linear upsampling, reflection at
    the border) bounded by tanh. The spatial configuration is not bounded and is
    upsampled linearly. The network has 3,718,602 parameters with 37 landmarks in 2D.

    Reference: the form for hand radiographs of 256 x 256 pixels in the published code
    of Payer, Štern, Bischof, Urschler: Multi-label whole heart segmentation using
    CNNs and anatomical label configurations. STACOM 2017 (MM-WHS).

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `2 ** (levels - 1)` and of `spatial_factor`.
        filters: Int, the number of filters of every convolution.
        levels: Int, the number of resolutions of the U-Net.
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

    >>> network = scn_keras.models.scn_mmwhs(5, filters=8)
    >>> network(np.zeros((1, 64, 64, 1), "float32")).shape[1:] == (64, 64, 5)
    True
    """
    image = keras.Input(tuple(image_shape), name="image")
    features = UNet(
        filters,
        levels,
        pooling="average",
        upsampling="linear",
        padding="reflect",
        dtype=dtype,
        name="features",
    )
    return with_spatial_configuration(
        keras.Model(image, features(image)),
        num_landmarks,
        SpatialConfiguration(
            filters=filters,
            kernel_size=spatial_kernel_size,
            factor=spatial_factor,
            negative_slope=0.0,
            heatmap_initializer=heatmap_initializer,
            padding="reflect",
            interpolation="linear",
            activation=None,
            dtype=dtype,
            name="spatial_configuration",
        ),
        activation="tanh",
        heatmap_initializer=heatmap_initializer,
        name=name,
    )
