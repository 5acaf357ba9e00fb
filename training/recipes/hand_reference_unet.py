"""The U-Net twin of `hand_reference`: the same but for the network.

scn-keras train hand_reference_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        hand_reference.recipe(),
        name="hand_reference_unet",
        network=Network(kind="LocalizationUNet"),
    )
