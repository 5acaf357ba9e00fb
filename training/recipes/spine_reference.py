"""The published SpatialConfiguration-Net on CT of the spine: 2 mm per voxel, in 3D.

Settings are those of Payer et al. (Medical Image Analysis 54, 2019) in their published
code: Nesterov momentum of 0.99 at a constant rate of 5e-8, batches of one volume,
40,000 steps, sigmas of 4 voxels learned with the network, grey values clipped after the
augmentation, and grids of 192 x 96 x 96 voxels, 64 apart, over the whole column in
evaluation. The final weights are the model. docs/guides/networks.md lists the remaining
differences with their sizes.

Published result: that of the data set CSI 2014 in the paper above (26 vertebrae, 242
volumes for training and 60 for testing). Its numbers are in a table of the paper, of
which no text was available for this package. There is no result of this recipe yet,
since it has not been trained completely.

Data: your own folder, since that data set cannot be redistributed. Volumes in any
format, such as NIfTI, and one point for each vertebra, such as a table `points.csv`
with the columns image,patient,split,C1_x_mm,C1_y_mm,C1_z_mm,C2_x_mm,... (LPS). Names
and order of the vertebrae are those of the table; cells of vertebrae outside of a
volume are empty.

    scn-keras datasets prepare landmark_folder/spine --manual-dir FOLDER
    scn-keras train spine_reference
    scn-keras evaluate runs/spine_reference

A step takes 12 seconds and 7.4 GB on two CPU cores, so that this recipe requires a GPU.
If the loss becomes NaN, the authors advise to restart or to lower the learning rate.
"""

from scn_keras.training import (
    Augmentation,
    ImageToGrid,
    Network,
    Optimizer,
    Recipe,
    Target,
)


def recipe() -> Recipe:
    return Recipe(
        name="spine_reference",
        dataset="landmark_folder/spine",
        validation=0.0,
        image_to_grid=ImageToGrid(
            grid=(192, 96, 96),
            grid_spacing=(2.0, 2.0, 2.0),
            normalization="window",
            normalization_limits=(-2048.0, 2048.0),  # Hounsfield units
            axes="patient",
            clip_last=True,
            outside=-3024.0,
            tile_step=64,
        ),
        peak="parabola",
        network=Network(
            filters=64,
            spatial_kernel_size=7,
            spatial_factor=8,
            heatmap_initializer=1e-3,
            padding="reflect",
        ),
        target=Target(sigma=4.0, gamma=1000.0, sigma_penalty=100.0, missing="zero"),
        optimizer=Optimizer(
            name="nesterov",
            learning_rate=5e-8,
            schedule="constant",
            momentum=0.99,
            weight_decay=5e-4,
        ),
        augmentation=Augmentation.spine(),
        batch_size=1,
        steps=40_000,
        steps_per_epoch=2500,
    )
