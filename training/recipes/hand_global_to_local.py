"""The method of Noothout et al. on hand radiographs, as two CPU cores train it.

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_global_to_local
    scn-keras evaluate runs/hand_global_to_local

Not yet trained at this size. At 192 x 144 pixels, 36 training images and 2,000 steps,
2.10 mm; see docs/results.md.

As `cephalogram_global_to_local`, which says what is the paper's and what is not; folds,
grid and augmentation are those of `hand_fast`. The paper has no hands: the weight of
the classification is that for its cephalograms. Of 37 local networks the filters are
12, so that they take no longer than the global one.

Needs a processor with bfloat16 instructions to be fast; on others set
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
        # Without an average of weights: means and variances are of the trained ones.
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02),
        steps=8000,
    )
