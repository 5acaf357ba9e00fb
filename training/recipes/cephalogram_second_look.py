"""A second look at several scales around the points of the preset `cephalogram`.

The network of `cephalogram_fast` is taken from the preset and not trained. One small
network for all landmarks looks at four scales around each of its points, 16 to 128 mm
wide, and predicts the point again (`PyramidRefinement`). Glimpses of several scales are
those of Gilmour & Ray (MIDL 2020); the network is another one.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_second_look
    scn-keras evaluate runs/cephalogram_second_look
"""

import dataclasses

from scn_keras.training import Optimizer, Recipe, Refinement
from scn_keras.training.recipes import cephalogram_fast


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_fast.recipe(),
        name="cephalogram_second_look",
        start="cephalogram",
        local=Refinement(size=32, scales=4, filters=32, frozen=True),
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02, average=0.999),
        steps=4_000,
    )
