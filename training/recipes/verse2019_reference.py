"""The network that localised vertebrae in VerSe 2019, in CT at 2 mm per voxel.

Settings are those of the published code of Payer et al. for their entry to VerSe 2019:
Nesterov momentum of 0.99 as in TensorFlow 1, a rate of 1e-8 that falls to a half after
half of the 100,000 steps and to a tenth after three quarters, gradients limited to a
norm of 100,000, batches of one volume, sigmas of 4 voxels learned with the network, and
grids of 128 x 96 x 96 voxels, 96 apart, over the whole column in evaluation.

Published result: the entry won the challenge (Payer, Štern, Bischof, Urschler: Coarse
to fine vertebrae localization and segmentation with SpatialConfiguration-Net and U-Net,
VISAPP 2020). Its numbers are in Sekuboyina et al., Medical Image Analysis 73, 2021, of
which no text was available for this package. There is no result of this recipe yet,
since it has not been trained completely.

Different from the authors: they centre the grid on the spine, which another network
finds, in x and y, and here it has the centre of the volume; a mask excludes the ends of
the volume from their loss; values below -1024 are raised to -1024 there; smoothing; and
a chain of vertebrae is chosen from several maxima, here the largest maximum of each
heatmap.

Data: your own folder with the volumes of VerSe 2019 and one point for each vertebra,
see `scn-keras recipes spine_reference` for its form.

    scn-keras datasets prepare landmark_folder/verse2019 --manual-dir FOLDER
    scn-keras train verse2019_reference
    scn-keras evaluate runs/verse2019_reference

The 100,000 steps require a GPU.
"""

import dataclasses

from scn_keras.training import Augmentation, Network, Optimizer, Recipe
from scn_keras.training.recipes import spine_reference

AUGMENTATION = Augmentation(
    translation=0.0,
    translation_mm=30.0,
    rotation=0.25,
    scale=0.15,
    scale_per_axis=0.15,
    intensity_shift=0.25,
    intensity_scale=0.25,
    crop="z",
    elastic_mm=25.0,
    elastic_points=6,
)


def recipe() -> Recipe:
    spine = spine_reference.recipe()
    return dataclasses.replace(
        spine,
        name="verse2019_reference",
        dataset="landmark_folder/verse2019",
        image_to_grid=dataclasses.replace(
            spine.image_to_grid, grid=(128, 96, 96), outside=-1024.0, tile_step=96
        ),
        network=Network(kind="scn_verse2019"),
        optimizer=Optimizer(
            name="nesterov",
            learning_rate=1e-8,
            schedule="piecewise",
            schedule_settings={"at": [0.5, 0.75], "factors": [0.5, 0.1]},
            momentum=0.99,
            clip_norm=1e5,
            weight_decay=5e-4,
        ),
        augmentation=AUGMENTATION,
        steps=100_000,
        steps_per_epoch=10_000,
    )
