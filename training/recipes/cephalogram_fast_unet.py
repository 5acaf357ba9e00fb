"""`cephalogram_fast` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network and the learning rate are the same. The rate is that of
the first version of `cephalogram_fast`; higher ones were not tried with a U-Net.

    scn-keras train cephalogram_fast_unet
    scn-keras evaluate runs/cephalogram_fast_unet
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    scn = cephalogram_fast.recipe()
    return dataclasses.replace(
        scn,
        name="cephalogram_fast_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=32,
            stride=scn.network.stride,
            dtype="mixed_bfloat16",
        ),
        optimizer=Optimizer(learning_rate=4e-4, warmup=0.02),
        steps=20_000,
    )
