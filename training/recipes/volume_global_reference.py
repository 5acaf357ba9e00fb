"""The global network of Noothout et al. on volumes, such as CT of the heart.

It is the first of two trainings, before `volume_global_to_local_reference`. Settings
are those of the published code of Noothout et al. (IEEE Transactions on Medical Imaging
39(12), 2020) for CT angiographies of the heart: 1.5 mm per voxel, random parts of 72 x
72 x 72 voxels as the only augmentation, patches of 8 x 8 x 8 voxels, Adam with AMSGrad
at a constant rate of 1e-3, batches of four volumes, 300,000 steps, a classification
weight of 8, and points rounded to whole voxels.

Published result, with the local networks: medians of 1.45 to 2.48 mm of the landmarks
in CT angiographies, in the README of their code. There is no result of this recipe yet,
since it has not been trained completely.

Different from the authors: a grid of 128 x 128 x 128 voxels around the centre of a
volume instead of the whole volume; grey values from -1000 to 1000 become -1 to 1; and
initial weights.

Data: your own folder of volumes and points, see docs/guides/own_data.md.

    scn-keras datasets prepare landmark_folder/hearts --manual-dir FOLDER
    scn-keras train volume_global_reference
    scn-keras evaluate runs/volume_global_reference

The 300,000 steps require a GPU.
"""

import dataclasses

from scn_keras.training import ImageToGrid, Network, Recipe
from scn_keras.training.recipes import cephalogram_global_reference


def recipe() -> Recipe:
    return dataclasses.replace(
        cephalogram_global_reference.recipe(),
        name="volume_global_reference",
        dataset="landmark_folder/hearts",
        observer=None,
        test_split="test",
        image_to_grid=ImageToGrid(
            grid=(128, 128, 128),
            grid_spacing=(1.5, 1.5, 1.5),
            normalization="window",
            normalization_limits=(-1000.0, 1000.0),  # Hounsfield units
            axes="patient",
        ),
        window=(72, 72, 72),
        network=Network(kind="GlobalNet", reductions=3),
        loss_settings={"classification_weight": 8.0},
    )
