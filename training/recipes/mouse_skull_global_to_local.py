"""The method of Noothout et al. on micro-CT of mouse heads, from coarse to fine.

    scn-keras datasets prepare landmark_folder/mouse_skull --manual-dir FOLDER
    scn-keras train mouse_skull_global_to_local
    scn-keras evaluate runs/mouse_skull_global_to_local

Not yet trained to its end.

Pose and size of a head come from the coarse part of `mouse_skull`, as for that recipe:
the method has no way to see a volume turned every way in so few steps. On the grid of
0.3 mm laid over it a global network votes in patches of 8 voxels, as the paper has it
for volumes, and local ones look again at 12 x 12 x 12 voxels. The classification's
weight is the paper's for hearts in CT.

Filters are a quarter of the paper's, since there are 15 heads and two cores. Batches
are of two, for the means and variances of normalisation.
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
