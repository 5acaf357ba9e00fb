import keras

from scn_keras.layers._landmark_convolution import EPSILON, MOMENTUM
from scn_keras.layers._spatial import (
    check_divisible,
    check_positive_integers,
    convolution,
    he_normal,
    pooling,
)
from scn_keras.layers._votes import Votes
from scn_keras.layers.local_refinement import INITIAL_LOGIT
from scn_keras.models._configured_model import ConfiguredModel


@keras.saving.register_keras_serializable(package="scn_keras")
class GlobalNet(ConfiguredModel):
    """The global network of Noothout et al., which predicts votes of image patches.

    It is a functional model from an image to votes, see `PatchVote`: the probability
    that a landmark lies in a patch with sides of 32 pixels, and the landmark's
    displacement from the patch's centre. The network is fully convolutional. It is a
    residual network like ResNet-34 with a quarter of its filters and average pooling,
    followed by two heads of two hidden 1x1 convolutions each.

    `LandmarkModel` trains it alone, on whole images or on random parts of them.
    `GlobalToLocalNet` trains it together with local networks around its points.

    Reference: Noothout et al.: Deep Learning-Based Regression and Classification for
    Automatic Landmark Localization in Medical Images. IEEE Transactions on Medical
    Imaging 39(12), 2020.

    Args:
        num_landmarks: Int, the number of landmarks.
        image_shape: Tuple `(*spatial, channels)` in array order. Sizes may be `None`.
            They must be multiples of `2 ** reductions`.
        filters: Int, the number of filters of the first convolution. Each stage has
            twice as many filters as the previous stage or, for the first stage, the
            first convolution. The hidden layers of the heads have as many as the last
            stage.
        blocks: Sequence of int, the number of residual blocks of each stage.
        reductions: Int, the number of times that sizes are halved: by the first
            convolution, then before the first stage, before the second and so on. The
            side of a patch is `2 ** reductions` pixels. The published value is 5 for
            images and 3 for volumes, see `volume`.
        dtype: The dtype or dtype policy of all layers except the last of each head.

    Raises:
        ValueError: If an argument is out of its range or a spatial size is not a
            multiple of the patch size.

    Example:

    >>> network = scn_keras.models.GlobalNet(
    ...     5, (64, 96, 1), filters=4, blocks=(1, 1, 1, 1)
    ... )
    >>> network(np.zeros((1, 64, 96, 1), "float32")).shape[1:] == (2, 3, 5, 3)
    True
    >>> network.patch_size, network.receptive_field
    (32, 277)
    """

    def __init__(
        self,
        num_landmarks,
        image_shape=(None, None, 1),
        filters=16,
        blocks=(3, 4, 6, 3),
        reductions=5,
        dtype=None,
        **kwargs,
    ):
        blocks = tuple(blocks)
        arguments = {
            "num_landmarks": num_landmarks,
            "image_shape": tuple(image_shape),
            "filters": filters,
            "blocks": blocks,
            "reductions": reductions,
        }
        check_positive_integers(
            num_landmarks=num_landmarks, filters=filters, reductions=reductions
        )
        for count in blocks:
            check_positive_integers(blocks=count)
        if reductions > len(blocks) + 1:
            raise ValueError(
                f"A network with {len(blocks)} stages halves sizes at most "
                f"{len(blocks) + 1} times. Received: reductions={reductions}"
            )
        rank = len(image_shape) - 1
        image = keras.Input(tuple(image_shape), name="image")
        x = _normalized_convolution(image, rank, filters, 7, "stem", dtype, strides=2)
        x = _relu(x, "stem", dtype)
        for stage, count in enumerate(blocks):
            if stage + 1 < reductions:
                x = pooling(rank, 2, dtype=dtype, name=f"pool_{stage}")(x)
                x = _relu(
                    _normalized(x, f"pool_{stage}", dtype), f"pool_{stage}", dtype
                )
            for i in range(count):
                x = _residual(
                    x, rank, filters * 2 ** (stage + 1), f"stage_{stage}_{i}", dtype
                )
        hidden = filters * 2 ** len(blocks)
        presence = _head(
            x, rank, hidden, num_landmarks, "presence", dtype, INITIAL_LOGIT
        )
        displacement = _head(
            x, rank, hidden, num_landmarks * rank, "displacement", dtype
        )
        votes = Votes(name="votes")(presence, displacement)
        super().__init__(image, votes, dtype, arguments, **kwargs)
        self.patch_size = 2**reductions
        # Receptive field and distance of neighbouring outputs, in pixels of the image.
        field, distance = 7, 2
        for stage, count in enumerate(blocks):
            if stage + 1 < reductions:
                field, distance = field + distance, 2 * distance
            field += 4 * count * distance
        self.receptive_field = field
        check_divisible(self, image.shape, self.patch_size, f"{reductions} reductions")

    def call(self, inputs, training=None, mask=None):
        # Pooling would discard the remaining pixels, and any landmarks there.
        check_divisible(self, inputs.shape, self.patch_size, "the patches' size")
        return super().call(inputs, training=training, mask=mask)

    @classmethod
    def cephalogram(cls, num_landmarks=19, image_shape=(None, None, 1), **options):
        """Returns the network for cephalograms."""
        return cls(num_landmarks, image_shape, **options)

    @classmethod
    def volume(cls, num_landmarks, image_shape=(None, None, None, 1), **options):
        """Returns the network for volumes, whose patches have sides of 8 voxels."""
        return cls(num_landmarks, image_shape, **{"reductions": 3, **options})


def _normalized(x, name, dtype):
    return keras.layers.BatchNormalization(
        momentum=MOMENTUM, epsilon=EPSILON, dtype=dtype, name=f"{name}_normalization"
    )(x)


def _relu(x, name, dtype):
    return keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)


def _normalized_convolution(x, rank, filters, kernel_size, name, dtype, strides=1):
    x = convolution(
        rank,
        filters,
        kernel_size,
        use_bias=False,
        kernel_initializer=he_normal(),
        dtype=dtype,
        name=name,
        strides=strides,
    )(x)
    return _normalized(x, name, dtype)


def _residual(x, rank, filters, name, dtype):
    skip = x
    if x.shape[-1] != filters:
        skip = _normalized_convolution(x, rank, filters, 1, f"{name}_skip", dtype)
    for i in range(2):
        x = _normalized_convolution(x, rank, filters, 3, f"{name}_{i}", dtype)
        x = _relu(x, f"{name}_{i}", dtype)
    return keras.layers.Add(dtype=dtype, name=f"{name}_sum")([x, skip])


def _head(x, rank, hidden, channels, name, dtype, initial_bias=0.0):
    for i in range(2):
        x = convolution(
            rank,
            hidden,
            1,
            activation=keras.layers.ReLU(dtype=dtype),
            kernel_initializer=he_normal(),
            dtype=dtype,
            name=f"{name}_{i}",
        )(x)
    return convolution(
        rank,
        channels,
        1,
        bias_initializer=keras.initializers.Constant(initial_bias),
        dtype="float32",  # votes encode positions
        name=name,
    )(x)
