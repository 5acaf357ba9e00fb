"""Annotation uncertainty on cephalograms: a rotated Gaussian for each landmark.

Settings are those of Thaler, Payer, Urschler, Štern: Modeling annotation uncertainty
with Gaussian heatmaps in landmark localization (MELBA 1, 2021), in their published code
for all 19 landmarks: two variances and a rotation of each landmark's target are learned
with the network, starting at a variance of 3 pixels squared; Nesterov momentum of 0.99
as in TensorFlow 1; a rate of 1e-6 that falls to a half after half of the 40,000 steps
and to a tenth after three quarters. The points are those of the junior observer, as the
authors recommend, on the first of their four folds of all 400 films.

Published result, mean of the four folds: 0.99 mm with a standard deviation of 1.07, and
89.70, 93.74, 95.83 and 97.82 % of points within 2, 2.5, 3 and 4 mm, as quoted in a
table of MediMarker. There is no result of this recipe yet, since it has not been
trained completely.

Different from the authors: the initial weights of the parallel convolutions have their
code's standard deviation of 0.001 there and that of He et al. here, as in their paper
of 2019. docs/guides/networks.md lists the differences that all recipes have.

The folds are those of the folder setup/cv of the data set, see `cephalogram`.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_melba
    scn-keras evaluate runs/cephalogram_melba

The other folds: --set train_split=cv2_train --set test_split=cv2_val, and so on. A step
takes 5 to 7 seconds on two CPU cores, so that this recipe requires a GPU.
"""

import dataclasses

from scn_keras.training import Optimizer, Recipe, Target
from scn_keras.training.recipes import cephalogram_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_reference.recipe(),
        name="cephalogram_melba",
        observer="junior",
        train_split="cv1_train",
        test_split="cv1_val",
        target=Target(
            sigma=3.0**0.5,
            gamma=100.0,
            sigma_penalty=5.0,
            form="rotated",
            penalty_power=2.0,  # sigmas are variances in their code
            missing="zero",
        ),
        optimizer=Optimizer(
            name="nesterov",
            learning_rate=1e-6,
            schedule="piecewise",
            schedule_settings={"at": [0.5, 0.75], "factors": [0.5, 0.1]},
            momentum=0.99,
            clip_norm=1e4,
            weight_decay=1e-3,
        ),
        steps=40_000,
    )
