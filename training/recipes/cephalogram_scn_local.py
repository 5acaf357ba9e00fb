"""A coarse SpatialConfiguration-Net on cephalograms, refined at full resolution.

The network of `cephalogram_fast` finds the landmarks in heatmaps of a millimetre a
pixel; it sees an image of twice the resolution, reduced by its first convolution. Local
networks, those of Noothout et al., then look at that image, of a quarter of a
millimetre a pixel, in 32 x 32 pixels around each of them. Nobody has published the two
together. The whole image costs what a coarse grid costs; but points come out no more
precise for it, see docs/results.md.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_scn_local
    scn-keras evaluate runs/cephalogram_scn_local

Needs a processor with bfloat16 instructions to be fast; on others set
network.dtype=float32.
"""

import dataclasses

from scn_keras.training import Recipe, Refinement
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    coarse = cephalogram_fast.recipe()
    return dataclasses.replace(
        coarse,
        name="cephalogram_scn_local",
        image_to_grid=dataclasses.replace(coarse.image_to_grid, grid=(960, 768)),
        network=coarse.network.replaced(stride=4),
        local=Refinement(size=32, filters=16),
        steps=10_000,
    )
