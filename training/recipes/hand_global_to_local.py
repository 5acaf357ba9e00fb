"""The method of Noothout et al. on hand radiographs, trained on two CPU cores.

The recipe corresponds to `cephalogram_global_to_local`, whose docstring lists the
differences from the paper. Folds, grid and augmentation are the same as in `hand_fast`.
Since the paper has no hand radiographs, the classification weight is its value for
cephalograms. The 37 local networks have 12 filters, so that they do not take longer
than the global network.

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_global_to_local
    scn-keras evaluate runs/hand_global_to_local

There is no result for this size yet. With 192 x 144 pixels, 36 training images and
2,000 steps, the error is 2.10 mm; see docs/experiments.md.

Fast training requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe, Refinement
from scn_keras.training.recipes import hand_fast


def recipe() -> Recipe:
    return dataclasses.replace(
        hand_fast.recipe(),
        name="hand_global_to_local",
        network=Network(kind="GlobalNet", dtype="mixed_bfloat16"),
        local=Refinement(size=32, filters=12),
        loss="patches",
        loss_settings={"classification_weight": 20.0},
        peak="votes",
        # Without averaged weights, because the moments of batch normalisation belong to
        # the trained weights.
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02),
        steps=8000,
        steps_per_epoch=400,
    )
