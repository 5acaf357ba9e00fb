"""The built-in transforms, in the orders of drawing and of application."""

import dataclasses
from typing import Any

from scn_keras.training.augmentation._pose import PoseTransform
from scn_keras.training.augmentation.blur import Blur
from scn_keras.training.augmentation.clip import Clip
from scn_keras.training.augmentation.contrast import Contrast
from scn_keras.training.augmentation.crop import Crop
from scn_keras.training.augmentation.elastic import Elastic
from scn_keras.training.augmentation.erase import Erase
from scn_keras.training.augmentation.flip import Flip
from scn_keras.training.augmentation.gamma import Gamma
from scn_keras.training.augmentation.intensity import Intensity
from scn_keras.training.augmentation.intensity_transform import IntensityTransform
from scn_keras.training.augmentation.noise import Noise
from scn_keras.training.augmentation.rotation import Rotation
from scn_keras.training.augmentation.scale import Scale
from scn_keras.training.augmentation.transform import Transform
from scn_keras.training.augmentation.translation import Translation

# In this order, the transforms take their numbers from one random vector. Another order
# would change the images of runs with the same seed.
IN_ORDER_OF_DRAWING: tuple[type[Transform], ...] = (
    Translation,
    Rotation,
    Scale,
    Intensity,
    Flip,
    Crop,
    Elastic,
    Erase,
    Blur,
    Gamma,
    Contrast,
    Noise,
    Clip,
)
POSE: tuple[type[PoseTransform], ...] = (Scale, Flip, Rotation, Translation, Crop)
IN_ORDER_OF_GREY_VALUES: tuple[type[IntensityTransform], ...] = (
    Blur,
    Gamma,
    Contrast,
    Intensity,
    Noise,
    Clip,
    Erase,
)
BY_NAME: dict[str, type[Transform]] = {
    kind.__name__: kind for kind in IN_ORDER_OF_DRAWING
}


def numbers_of(kind: type[Any]) -> list[str]:
    """Returns the names of the arguments of a built-in transform."""
    return [field.name for field in dataclasses.fields(kind)]
