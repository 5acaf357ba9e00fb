"""The U-Net twin of `mouse_skull`: the same but for the network of the fine stage.

scn-keras train mouse_skull_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import mouse_skull


def recipe() -> Recipe:
    return dataclasses.replace(
        mouse_skull.recipe(),
        name="mouse_skull_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=16,
            levels=4,
            dtype="mixed_bfloat16",
        ),
    )
