"""A coarse SpatialConfiguration-Net on cephalograms, refined at full resolution.

The image has 0.25 mm per pixel. The network of `cephalogram_fast` reduces it with its
first convolution and predicts heatmaps of 1 mm per pixel. Local networks as in Noothout
et al. (IEEE Transactions on Medical Imaging 39(12), 2020) then refine each point in a
sub-image of 32 x 32 pixels of the image. This combination has not been published.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_scn_local
    scn-keras evaluate runs/cephalogram_scn_local

Expected result on Test1, mean observer: 1.248 mm, 82.7 % of points within 2 mm, after
74 minutes. The first stage takes as long as with a coarse grid, but the points are not
more precise than those of `cephalogram_fast`, see docs/experiments.md.

Fast training requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
"""

import dataclasses

from scn_keras.training import Optimizer, Recipe, Refinement
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    coarse = cephalogram_fast.recipe()
    return dataclasses.replace(
        coarse,
        name="cephalogram_scn_local",
        image_to_grid=dataclasses.replace(coarse.image_to_grid, grid=(960, 768)),
        network=coarse.network.replaced(stride=4),
        local=Refinement(size=32, filters=16),
        optimizer=Optimizer(learning_rate=4e-4, warmup=0.02),
        steps=10_000,
    )
