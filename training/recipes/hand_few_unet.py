"""`hand_few` with a U-Net instead of the SpatialConfiguration-Net.

All settings except the network and its learning rate are the same.

    scn-keras train hand_few_unet --set train_split=fold1[:10]
    scn-keras evaluate runs/hand_few_unet --split fold2
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_few


def recipe() -> Recipe:
    scn = hand_few.recipe()
    return dataclasses.replace(
        scn,
        name="hand_few_unet",
        network=Network(
            kind="LocalizationUNet", filters=32, levels=5, dtype="mixed_bfloat16"
        ),
        optimizer=dataclasses.replace(scn.optimizer, learning_rate=1e-3),
    )
