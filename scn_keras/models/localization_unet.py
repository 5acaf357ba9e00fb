import keras

from scn_keras.layers._spatial import heatmap_convolution, reduce_image
from scn_keras.layers.convolution_block import ConvolutionBlock
from scn_keras.layers.unet import UNet
from scn_keras.models._configured_model import ConfiguredModel


@keras.saving.register_keras_serializable(package="scn_keras")
class LocalizationUNet(ConfiguredModel):
    """The U-Net with which the publication compares SpatialConfiguration-Net.

    It is a functional model from an image to heatmaps: a `UNet` with ReLU, max pooling,
    nearest upsampling and concatenation, and a linear head. `cephalogram`, `hand` and
    `spine` are the published forms, with 3,397,651, 2,662,181 and 2,702,234 parameters.

    Reference: the U-Net of Payer et al., Medical Image Analysis 54, 2019, section 4.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `stride * 2 ** (levels - 1)`.
        filters: Int, the number of filters of every convolution.
        levels: Int, the number of resolutions.
        dropout: Float, the dropout rate between the two convolutions of a block.
        stem: Bool, whether another convolution precedes the U-Net.
        head_kernel_size: Int, the kernel size of the head.
        heatmap_initializer: Float, the standard deviation of the head's initial kernel.
        stride: Int, the ratio of the image's to the heatmaps' resolution, see
            `SpatialConfigurationNet`.
        dtype: The dtype or dtype policy of all layers except the head.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not
            divisible as described for `image_shape`.

    Example:

    >>> network = scn_keras.models.LocalizationUNet(5, (32, 32, 1), 8, levels=3)
    >>> network(np.zeros((1, 32, 32, 1), "float32")).shape[1:] == (32, 32, 5)
    True
    """

    def __init__(
        self,
        num_landmarks,
        image_shape=(None, None, 1),
        filters=128,
        levels=5,
        dropout=0.0,
        stem=False,
        head_kernel_size=1,
        heatmap_initializer=1e-4,
        stride=1,
        dtype=None,
        **kwargs,
    ):
        arguments = {
            "num_landmarks": num_landmarks,
            "image_shape": tuple(image_shape),
            "filters": filters,
            "levels": levels,
            "dropout": dropout,
            "stem": stem,
            "head_kernel_size": head_kernel_size,
            "heatmap_initializer": heatmap_initializer,
            "stride": stride,
        }
        image = keras.Input(tuple(image_shape), name="image")
        x = reduce_image(image, filters, stride, 0.0, dtype)
        if stem:
            x = ConvolutionBlock(filters, 1, dtype=dtype, name="stem")(x)
        x = UNet(
            filters,
            levels,
            dropout=dropout,
            dtype=dtype,
            name="features",
        )(x)
        heatmaps = heatmap_convolution(
            len(image_shape) - 1,
            num_landmarks,
            head_kernel_size,
            heatmap_initializer,
            name="heatmaps",
        )(x)
        super().__init__(image, heatmaps, dtype, arguments, **kwargs)
        self.heatmap_stride = stride

    @classmethod
    def cephalogram(cls, num_landmarks=19, image_shape=(None, None, 1), **options):
        """Returns the U-Net for cephalograms of 512 x 512 pixels."""
        return cls(num_landmarks, image_shape, **options)

    @classmethod
    def hand(cls, num_landmarks=37, image_shape=(None, None, 1), **options):
        """Returns the U-Net for hand radiographs of 256 x 256 pixels."""
        return cls(num_landmarks, image_shape, **{"levels": 4, **options})

    @classmethod
    def spine(cls, num_landmarks=26, image_shape=(None, None, None, 1), **options):
        """Returns the 3D U-Net for spine CT of 192 x 96 x 96 voxels (z, y, x)."""
        published = {"filters": 64, "stem": True, "head_kernel_size": 3}
        return cls(num_landmarks, image_shape, **{**published, **options})
