"""`mouse_skull` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network of the fine stage and its learning rate are the same.

    scn-keras train mouse_skull_unet
    scn-keras evaluate runs/mouse_skull_unet
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import mouse_skull


def recipe() -> Recipe:
    scn = mouse_skull.recipe()
    return dataclasses.replace(
        scn,
        name="mouse_skull_unet",
        network=Network(
            kind="LocalizationUNet",
            filters=16,
            levels=4,
            dtype="mixed_bfloat16",
        ),
        # Gradients of norm 1 were not tried with this network.
        optimizer=dataclasses.replace(scn.optimizer, learning_rate=3e-3, clip_norm=5.0),
    )
