"""The U-Net twin of `hand_few`: the same but for the network and its learning rate.

scn-keras train hand_few_unet --set train_split=fold1[:10]
"""

import dataclasses

from scn_keras.training import Network, Recipe
from scn_keras.training.recipes import hand_few


def recipe() -> Recipe:
    twin = hand_few.recipe()
    return dataclasses.replace(
        twin,
        name="hand_few_unet",
        network=Network(
            kind="LocalizationUNet", filters=32, levels=5, dtype="mixed_bfloat16"
        ),
        optimizer=dataclasses.replace(twin.optimizer, learning_rate=1e-3),
    )
