"""The local networks of Noothout et al. on cephalograms with the authors' settings.

It is the second of two trainings, after `cephalogram_global_reference`, whose network
is not trained any more. Settings are those of the published code (IEEE Transactions on
Medical Imaging 39(12), 2020): for each landmark a network on 16 x 16 pixels of 0.1 mm,
trained on random positions that contain the landmark; Adam with AMSGrad at a rate of
1e-3 that falls as a cosine and restarts after 10,000, 30,000, 70,000 and 150,000 steps;
310,000 steps with batches of four films; and sub-images that are shifted into the image
at its border.

Published result: medians of 0.46 to 2.12 mm of the 19 landmarks, in the README of their
code, whose truth is the mean of both observers. There is no result of this recipe yet,
since it has not been trained completely.

What differs from the authors is listed in `cephalogram_global_reference`.

    scn-keras train cephalogram_global_reference
    scn-keras train cephalogram_global_to_local_reference \\
        --from runs/cephalogram_global_reference
    scn-keras evaluate runs/cephalogram_global_to_local_reference

The 310,000 steps require a GPU.
"""

import dataclasses

from scn_keras.training import Optimizer, Recipe, Refinement
from scn_keras.training.recipes import cephalogram_global_reference

# As restarts at multiples of 10,000 in the authors' code.
OPTIMIZER = Optimizer(
    learning_rate=1e-3,
    schedule="CosineDecayRestarts",
    schedule_settings={"first_decay_steps": 10_000, "t_mul": 2.0, "m_mul": 1.0},
    settings={"amsgrad": True},
)


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_global_reference.recipe(),
        name="cephalogram_global_to_local_reference",
        window=None,
        local=Refinement(size=16, frozen=True, border="inside"),
        optimizer=OPTIMIZER,
        steps=310_000,
    )
