"""`hand_fast` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network are the same.

    scn-keras train hand_fast_unet
    scn-keras evaluate runs/hand_fast_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_fast


def recipe() -> Recipe:
    scn = hand_fast.recipe()
    return dataclasses.replace(
        scn,
        name="hand_fast_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=32,
            stride=scn.network.stride,
            dtype="mixed_bfloat16",
        ),
    )
