"""The method of Noothout et al. on micro-CT of mouse heads, coarse to fine.

The coarse stage of `mouse_skull` determines pose and size of a head, because the method
cannot learn volumes in any orientation in so few steps. On the grid of 0.3 mm placed by
it, a global network predicts votes of patches of 8 voxels, as in the paper (IEEE
Transactions on Medical Imaging 39(12), 2020) for volumes, and local networks refine its
points in sub-images of 12 x 12 x 12 voxels. The classification weight is the
paper's value for hearts in CT.

    scn-keras datasets prepare landmark_folder/mouse_skull --manual-dir FOLDER
    scn-keras train mouse_skull_global_to_local
    scn-keras evaluate runs/mouse_skull_global_to_local

There is no result yet, since this recipe has not been trained completely.

The networks have a quarter of the paper's filters, because there are 15 heads and two
CPU cores. Batches have two volumes, which batch normalisation requires.
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe, Refinement
from scn_keras.training.recipes import mouse_skull


def recipe() -> Recipe:
    return dataclasses.replace(
        mouse_skull.recipe(),
        name="mouse_skull_global_to_local",
        network=Network(
            kind="GlobalNet", filters=4, reductions=3, dtype="mixed_bfloat16"
        ),
        local=Refinement(size=12, filters=8),
        loss="patches",
        loss_settings={"classification_weight": 8.0},
        peak="votes",
        peak_settings={},
        optimizer=Optimizer(learning_rate=2e-3, warmup=0.03, clip_norm=5.0),
        batch_size=2,
        steps=1500,
    )
