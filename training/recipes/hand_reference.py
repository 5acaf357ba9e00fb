"""The published SpatialConfiguration-Net on hand radiographs: 512 x 512, 128 filters.

The published set 1: trained on folds 2 and 3, tested on fold 1. The authors' settings
for hands are not published; these are theirs for cephalograms (`cephalogram_reference`)
with their augmentation of hands (Payer et al., Medical Image Analysis 54, 2019).

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_reference
    scn-keras train hand_reference --set train_split=fold1_train_10_1
    scn-keras evaluate runs/hand_reference

The second line of `train` is the first published draw of 10 training images. A step
takes 5 to 7 seconds on two CPU cores, so this is for a GPU. It has not been trained
whole by us yet; `hand_fast` has.
"""

import dataclasses

from scn_keras.training import Augmentation, Recipe
from scn_keras.training.recipes import cephalogram_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_reference.recipe(),
        name="hand_reference",
        dataset="hand_xray",
        observer=None,
        train_split="fold2+fold3",
        test_split="fold1",
        image_to_grid=dataclasses.replace(
            cephalogram_reference.recipe().image_to_grid,
            normalization="percentile",
            normalization_limits=(0.05, 0.95),
        ),
        augmentation=Augmentation.hand(),
    )
