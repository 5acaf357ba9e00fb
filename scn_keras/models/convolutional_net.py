import keras

from scn_keras.layers._spatial import (
    check_divisible,
    check_positive_integers,
    heatmap_convolution,
    pooling,
)
from scn_keras.layers.convolution_block import ConvolutionBlock
from scn_keras.models._configured_model import ConfiguredModel


@keras.saving.register_keras_serializable(package="scn_keras")
class ConvolutionalNet(ConfiguredModel):
    """A network of convolutions and average pooling: the baselines of 2016.

    It is a functional model without upsampling. The form `downsampling` pools twice, so
    that its heatmaps have a quarter of the image's size along every axis. The form
    `conv` has kernels of size 11 and keeps the size. With 37 landmarks they have
    2,056,741 and 9,933,349 parameters.

    Pixel `i` of a heatmap covers the image's pixels `stride * i` to
    `stride * i + stride - 1`, so that its centre is at
    `stride * i + (stride - 1) / 2`. `LandmarkModel` uses the attribute
    `heatmap_stride`; its points are in pixels of the image.

    Reference: Payer, Štern, Bischof, Urschler: Regressing heatmaps for multiple
    landmark localization using CNNs. MICCAI 2016.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `2 ** (levels - 1)`.
        filters: Int, the number of filters of every convolution.
        levels: Int, the number of resolutions.
        convolutions: Int, the number of convolutions at each resolution.
        kernel_size: Int, the kernel size of the convolutions.
        heatmap_initializer: Float, the standard deviation of the head's initial kernel.
        dtype: The dtype or dtype policy of all layers except the head.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not a
            multiple of the stride.

    Example:

    >>> network = scn_keras.models.ConvolutionalNet.downsampling(5, filters=8)
    >>> network(np.zeros((1, 64, 64, 1), "float32")).shape[1:] == (16, 16, 5)
    True
    >>> network.heatmap_stride
    4
    """

    def __init__(
        self,
        num_landmarks,
        image_shape=(None, None, 1),
        filters=128,
        levels=1,
        convolutions=6,
        kernel_size=11,
        heatmap_initializer=1e-4,
        dtype=None,
        **kwargs,
    ):
        arguments = {
            "num_landmarks": num_landmarks,
            "image_shape": tuple(image_shape),
            "filters": filters,
            "levels": levels,
            "convolutions": convolutions,
            "kernel_size": kernel_size,
            "heatmap_initializer": heatmap_initializer,
        }
        check_positive_integers(levels=levels)
        rank = len(image_shape) - 1
        image = x = keras.Input(tuple(image_shape), name="image")
        for level in range(levels):
            if level:
                x = pooling(rank, 2, dtype=dtype, name=f"pool_{level}")(x)
            x = ConvolutionBlock(
                filters, convolutions, kernel_size, dtype=dtype, name=f"level_{level}"
            )(x)
        heatmaps = heatmap_convolution(
            rank, num_landmarks, 1, heatmap_initializer, name="heatmaps"
        )(x)
        super().__init__(image, heatmaps, dtype, arguments, **kwargs)
        self.heatmap_stride = 2 ** (levels - 1)
        check_divisible(self, image.shape, self.heatmap_stride, f"{levels} levels")

    def call(self, inputs, training=None, mask=None):
        # Pooling would discard the remaining pixels, and the heatmaps would shift.
        check_divisible(self, inputs.shape, self.heatmap_stride, "the heatmaps' stride")
        return super().call(inputs, training=training, mask=mask)

    @classmethod
    def downsampling(cls, num_landmarks=37, image_shape=(None, None, 1), **options):
        """Returns the network with heatmaps of a quarter of its 256 x 256 images."""
        published = {"levels": 3, "convolutions": 2, "kernel_size": 5}
        return cls(num_landmarks, image_shape, **{**published, **options})

    @classmethod
    def conv(cls, num_landmarks=37, image_shape=(None, None, 1), **options):
        """Returns the network with large kernels, for images of 128 x 128 pixels."""
        return cls(num_landmarks, image_shape, **options)
