"""The method of Noothout et al. on cephalograms, as two CPU cores train it.

A global network votes in patches of 32 pixels (16 mm), local ones look again at 32 x 32
pixels around what it finds. Both see half a millimetre a pixel, as `cephalogram_fast`.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_global_to_local
    scn-keras evaluate runs/cephalogram_global_to_local

Test1, mean observer, 135 training films: 1.516 mm, 74.9 % within 2 mm, after 35 minutes
beside other work; see docs/results.md.

From the paper (IEEE Transactions on Medical Imaging 39(12), 2020): the global network
with all its filters, the classification's weight of 20, local networks apart from their
filters, Adam at 1e-3. Unlike it: both stages in one training of 7000 steps of two
images, in place of 300,000 of four and as many again, so a learning rate that falls and
no AMSGrad; whole images of half a millimetre a pixel and grey values from -1 to 1;
deformed and turned images in place of random crops alone (for those, set window and
augmentation=None); sub-images of 32 pixels in place of 16, since the global network, of
so few steps, is off by more; 16 filters in these in place of 32, a quarter of the time.

Needs a processor with bfloat16 instructions to be fast; on others set
network.dtype=float32.
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe, Refinement
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_fast.recipe(),
        name="cephalogram_global_to_local",
        network=Network(kind="GlobalNet", dtype="mixed_bfloat16"),
        local=Refinement(size=32, filters=16),
        loss="patches",
        loss_settings={"classification_weight": 20.0},
        peak="votes",
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02),
        steps=7000,
    )
