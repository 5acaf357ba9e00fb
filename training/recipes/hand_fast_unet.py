"""The U-Net twin of `hand_fast`: the same but for the network.

scn-keras train hand_fast_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_fast


def recipe() -> Recipe:
    twin = hand_fast.recipe()
    return dataclasses.replace(
        twin,
        name="hand_fast_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=32,
            stride=twin.network.stride,
            dtype="mixed_bfloat16",
        ),
    )
