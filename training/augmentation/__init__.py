"""Data augmentation: random transforms of training images and points."""

from scn_keras.training.augmentation.augmentation import Augmentation as Augmentation
from scn_keras.training.augmentation.blur import Blur as Blur
from scn_keras.training.augmentation.clip import Clip as Clip
from scn_keras.training.augmentation.contrast import Contrast as Contrast
from scn_keras.training.augmentation.crop import Crop as Crop
from scn_keras.training.augmentation.elastic import Elastic as Elastic
from scn_keras.training.augmentation.erase import Erase as Erase
from scn_keras.training.augmentation.flip import Flip as Flip
from scn_keras.training.augmentation.flip import swap_pairs as swap_pairs
from scn_keras.training.augmentation.gamma import Gamma as Gamma
from scn_keras.training.augmentation.geometric_transform import (
    GeometricTransform as GeometricTransform,
)
from scn_keras.training.augmentation.intensity import Intensity as Intensity
from scn_keras.training.augmentation.intensity_transform import (
    IntensityTransform as IntensityTransform,
)
from scn_keras.training.augmentation.named_transform import (
    NamedTransform as NamedTransform,
)
from scn_keras.training.augmentation.noise import Noise as Noise
from scn_keras.training.augmentation.rotation import Rotation as Rotation
from scn_keras.training.augmentation.scale import Scale as Scale
from scn_keras.training.augmentation.transform import Transform as Transform
from scn_keras.training.augmentation.translation import Translation as Translation
