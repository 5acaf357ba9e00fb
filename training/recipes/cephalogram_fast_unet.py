"""The U-Net twin of `cephalogram_fast`: the same but for the network.

scn-keras train cephalogram_fast_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    twin = cephalogram_fast.recipe()
    return dataclasses.replace(
        twin,
        name="cephalogram_fast_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=32,
            stride=twin.network.stride,
            dtype="mixed_bfloat16",
        ),
    )
