"""`hand_reference` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network are the same. Its four levels are those of the authors'
script for hands.

    scn-keras train hand_reference_unet
    scn-keras evaluate runs/hand_reference_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        hand_reference.recipe(),
        name="hand_reference_unet",
        network=Network(kind="LocalizationUNet", levels=4),
    )
