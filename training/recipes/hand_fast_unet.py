"""`hand_fast` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network, the learning rate and the steps are the same. These are
those of the first version of `hand_fast`; higher rates were not tried with a U-Net.

    scn-keras train hand_fast_unet
    scn-keras evaluate runs/hand_fast_unet
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe
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
        optimizer=Optimizer(learning_rate=5e-4, warmup=0.02, average=0.998),
        steps=8000,
        steps_per_epoch=400,
    )
