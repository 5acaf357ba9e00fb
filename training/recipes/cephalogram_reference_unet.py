"""`cephalogram_reference` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network are the same.

    scn-keras train cephalogram_reference_unet
    scn-keras evaluate runs/cephalogram_reference_unet
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
