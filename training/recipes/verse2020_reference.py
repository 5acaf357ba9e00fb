"""The network of two U-Nets that localised vertebrae in VerSe 2020, at 2 mm per voxel.

Settings are those of the published code of Payer et al. for their entry to VerSe 2020:
Adam at a rate of 1e-4 that falls exponentially to a tenth over 50,000 steps, gradients
limited to twice the moving average of their norm, batches of one volume, fixed targets
of height 1 with a sigma of 3 voxels, dropout of 0.25 after every convolution, and no
weight decay.

Published result: that of the entry of Payer et al. in Sekuboyina et al., Medical Image
Analysis 73, 2021, of which no text was available for this package. There is no result
of this recipe yet, since it has not been trained completely.

Different from the authors: they centre the grid on the spine, which another network
finds, here it has the centre of the volume; their grids have sides of 64 or 96 voxels
in x and y and of 32 to 256 in z, depending on the volume, here 128 x 96 x 96; they
process up to 448 slices at once in evaluation, here in grids 64 apart; they mirror half
of the volumes, and train in float16; values below -1024 are raised to -1024; smoothing;
and vertebrae are chosen from several maxima by a graph, here the largest maximum of
each heatmap. `HeatmapPeak` can return their candidates, see docs/guides/networks.md.

Data: your own folder with the volumes of VerSe 2020 and one point for each vertebra,
see `scn-keras recipes spine_reference` for its form.

    scn-keras datasets prepare landmark_folder/verse2020 --manual-dir FOLDER
    scn-keras train verse2020_reference
    scn-keras evaluate runs/verse2020_reference

The 50,000 steps require a GPU.
"""

import dataclasses

from scn_keras.training import Network, Optimizer, Recipe, Target
from scn_keras.training.recipes import verse2019_reference


def recipe() -> Recipe:
    previous = verse2019_reference.recipe()
    return dataclasses.replace(
        previous,
        name="verse2020_reference",
        dataset="landmark_folder/verse2020",
        image_to_grid=dataclasses.replace(previous.image_to_grid, tile_step=64),
        network=Network(kind="scn_verse2020"),
        target=Target(
            sigma=3.0, gamma=None, learnable=False, sigma_penalty=0.0, missing="zero"
        ),
        optimizer=Optimizer(
            learning_rate=1e-4,
            schedule="exponential",
            final=0.1,
            clip_norm="moving_average",
        ),
        augmentation=dataclasses.replace(verse2019_reference.AUGMENTATION, gamma=0.1),
        steps=50_000,
        steps_per_epoch=5000,
    )
