"""The local networks of Noothout et al. on volumes, such as CT of the heart.

It is the second of two trainings, after `volume_global_reference`, whose network is not
trained any more. Settings are those of `cephalogram_global_to_local_reference`, with
sub-images of 16 x 16 x 16 voxels.

Published result: medians of 1.45 to 2.48 mm of the landmarks in CT angiographies, in
the README of the code of Noothout et al. (IEEE Transactions on Medical Imaging 39(12),
2020). There is no result of this recipe yet, since it has not been trained completely.

    scn-keras train volume_global_reference
    scn-keras train volume_global_to_local_reference --from runs/volume_global_reference
    scn-keras evaluate runs/volume_global_to_local_reference

The 310,000 steps require a GPU.
"""

import dataclasses

from scn_keras.training import Recipe, Refinement
from scn_keras.training.recipes import (
    cephalogram_global_to_local_reference,
    volume_global_reference,
)


def recipe() -> Recipe:
    return dataclasses.replace(
        volume_global_reference.recipe(),
        name="volume_global_to_local_reference",
        window=None,
        local=Refinement(size=16, frozen=True, border="inside"),
        optimizer=cephalogram_global_to_local_reference.OPTIMIZER,
        steps=310_000,
    )
