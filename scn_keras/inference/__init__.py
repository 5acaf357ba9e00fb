"""Localises landmarks in images of any size, in pixels and millimetres.

This package does not depend on recipes and runs. A `Locator` is created from a model,
an `ImageToGrid` and, optionally, test-time views, a coarse stage, a calibration and
offsets.
"""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.inference.calibration import Calibration as Calibration
    from scn_keras.inference.calibration import uncertainty as uncertainty
    from scn_keras.inference.coarse_to_fine import CoarseToFine as CoarseToFine
    from scn_keras.inference.image_to_grid import ImageToGrid as ImageToGrid
    from scn_keras.inference.located_image import LocatedImage as LocatedImage
    from scn_keras.inference.locator import Locator as Locator
    from scn_keras.inference.point_offsets import PointOffsets as PointOffsets
    from scn_keras.inference.test_time_augmentation import (
        test_time_views as test_time_views,
    )

# Loaded lazily, because some of these modules import Keras or TensorFlow.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Calibration": "calibration",
        "CoarseToFine": "coarse_to_fine",
        "ImageToGrid": "image_to_grid",
        "LocatedImage": "located_image",
        "Locator": "locator",
        "PointOffsets": "point_offsets",
        "test_time_views": "test_time_augmentation",
        "uncertainty": "calibration",
    },
)
