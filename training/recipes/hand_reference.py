"""The published SpatialConfiguration-Net on hand radiographs: 512 x 512, 128 filters.

Data: the published set 1, trained on folds 2 and 3 and tested on fold 1. The authors'
settings for hands are not published. This recipe has their settings for cephalograms
(`cephalogram_reference`), and their normalisation and augmentation for hands (Payer et
al., Medical Image Analysis 54, 2019): percentiles of the resampled image with its
padding, not clipped; shifts of 10 pixels of the grid and displacements of 20.

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_reference
    scn-keras evaluate runs/hand_reference

To train on the first published selection of 10 training images:

    scn-keras train hand_reference --set train_split=fold1_train_10_1

Published result, three folds of 895 radiographs: 0.66 mm with a standard deviation of
0.74, and 94.99, 99.27 and 99.99 % of points within 2, 4 and 10 mm, as quoted in the
paper on FARNet (Ao and Wu, 2021). There is no result of this recipe yet, since it has
not been trained completely. See `hand_fast` for a trained one.

A step takes 5 to 7 seconds on two CPU cores, so that this recipe requires a GPU.
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
            normalization="grid_percentile",
            normalization_limits=(0.05, 0.95),
        ),
        augmentation=Augmentation.hand(512),
    )
