import dataclasses
from collections.abc import Callable, Iterable

import keras

from scn_keras.models.convolutional_net import ConvolutionalNet
from scn_keras.models.localization_unet import LocalizationUNet
from scn_keras.models.scn_miccai2016 import scn_miccai2016
from scn_keras.models.scn_mmwhs import scn_mmwhs
from scn_keras.models.scn_verse2019 import scn_verse2019
from scn_keras.models.scn_verse2020 import scn_verse2020
from scn_keras.models.spatial_configuration_net import SpatialConfigurationNet


@dataclasses.dataclass(frozen=True)
class PublishedNetwork:
    """A published network, with the number of parameters that its authors report.

    Attributes:
        name: Str, network, data and number of landmarks.
        source: Str, the publication.
        build: Callable with the arguments `num_landmarks` and `image_shape`, which
            returns a Keras model.
        landmarks: Int, the number of landmarks.
        grid: Sizes of the input in array order ((z,) y, x).
        parameters: Int, the published number of parameters.
    """

    name: str
    source: str
    build: Callable[..., keras.Model]
    landmarks: int
    grid: tuple[int, ...]
    parameters: int


_MEDIA = "Payer et al., Medical Image Analysis 2019"
_MICCAI = "Payer et al., MICCAI 2016"

PUBLISHED_NETWORKS = (
    PublishedNetwork(
        "SpatialConfigurationNet cephalogram 2D (19)",
        _MEDIA,
        SpatialConfigurationNet.cephalogram,
        19,
        (512, 512),
        6_348_070,
    ),
    PublishedNetwork(
        "SpatialConfigurationNet hand 2D (37)",
        _MEDIA,
        SpatialConfigurationNet.hand,
        37,
        (512, 512),
        6_926_410,
    ),
    PublishedNetwork(
        "SpatialConfigurationNet spine 3D (26)",
        _MEDIA,
        SpatialConfigurationNet.spine,
        26,
        (192, 96, 96),
        5_326_196,
    ),
    PublishedNetwork(
        "SCN MICCAI 2016 hand 2D (37)",
        _MICCAI,
        scn_miccai2016,
        37,
        (256, 256),
        1_240_958,
    ),
    PublishedNetwork(
        "SCN MMWHS hand 2D (37)",
        "Payer et al., STACOM 2017",
        scn_mmwhs,
        37,
        (256, 256),
        3_718_602,
    ),
    PublishedNetwork(
        "SCN VerSe 2019 vertebrae 3D (25)",
        "Payer et al., VerSe 2019",
        scn_verse2019,
        25,
        (128, 96, 96),
        6_054_962,
    ),
    PublishedNetwork(
        "SCN VerSe 2020 vertebrae 3D (26)",
        "Payer et al., VerSe 2020",
        scn_verse2020,
        26,
        (128, 96, 96),
        7_044_628,
    ),
    PublishedNetwork(
        "LocalizationUNet cephalogram 2D (19)",
        _MEDIA,
        LocalizationUNet.cephalogram,
        19,
        (512, 512),
        3_397_651,
    ),
    PublishedNetwork(
        "LocalizationUNet hand 2D (37)",
        _MEDIA,
        LocalizationUNet.hand,
        37,
        (256, 256),
        2_662_181,
    ),
    PublishedNetwork(
        "LocalizationUNet spine 3D (26)",
        _MEDIA,
        LocalizationUNet.spine,
        26,
        (192, 96, 96),
        2_702_234,
    ),
    PublishedNetwork(
        "ConvolutionalNet downsampling hand 2D (37)",
        _MICCAI,
        ConvolutionalNet.downsampling,
        37,
        (256, 256),
        2_056_741,
    ),
    PublishedNetwork(
        "ConvolutionalNet conv hand 2D (37)",
        _MICCAI,
        ConvolutionalNet.conv,
        37,
        (128, 128),
        9_933_349,
    ),
)


def published_parameter_counts(
    networks: Iterable[PublishedNetwork] = PUBLISHED_NETWORKS,
) -> dict[str, int]:
    """Builds published networks and returns their numbers of parameters by name.

    Args:
        networks: Iterable of `PublishedNetwork`, the networks to build; all by default.

    Example:

    >>> published = scn_keras.models.PUBLISHED_NETWORKS
    >>> published[3].name, published[3].parameters
    ('SCN MICCAI 2016 hand 2D (37)', 1240958)
    >>> counts = scn_keras.models.published_parameter_counts(published[3:4])
    >>> counts["SCN MICCAI 2016 hand 2D (37)"]
    1240958
    """
    return {
        network.name: network.build(
            network.landmarks, (*network.grid, 1)
        ).count_params()
        for network in networks
    }
