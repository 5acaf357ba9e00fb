"""The U-Net twin of `cephalogram_reference`: the same but for the network.

scn-keras train cephalogram_reference_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import cephalogram_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_reference.recipe(),
        name="cephalogram_reference_unet",
        network=Network(kind="LocalizationUNet"),
    )
