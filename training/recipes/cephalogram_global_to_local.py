"""The method of Noothout et al. on cephalograms, trained on two CPU cores.

A global network predicts votes of patches of 32 pixels (16 mm). Local networks refine
its points in sub-images of 32 x 32 pixels. Both have 0.5 mm per pixel, as in
`cephalogram_fast`.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_global_to_local
    scn-keras evaluate runs/cephalogram_global_to_local

Expected result on Test1, mean observer, with 135 training images: 1.516 mm, 74.9 % of
points within 2 mm, after 35 minutes during which the machine also did other work; see
docs/experiments.md.

As in the paper (IEEE Transactions on Medical Imaging 39(12), 2020): the global network
with all its filters, the classification weight of 20, the local networks except for
their filters, and Adam with a learning rate of 1e-3.

Different from the paper:

- Both stages are trained together in 7,000 steps of two images, instead of 300,000
  steps of four images for each stage. The learning rate therefore decreases, and
  AMSGrad is not used.
- Whole images of 0.5 mm per pixel with grey values from -1 to 1.
- Rotated and deformed images instead of only random crops. For random crops, set window
  and augmentation=None.
- Sub-images of 32 instead of 16 pixels, because the global network has larger errors
  after so few steps.
- 16 instead of 32 filters in the local networks, which takes a quarter of the time.

Fast training requires a processor with bfloat16 instructions. On other processors set
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
