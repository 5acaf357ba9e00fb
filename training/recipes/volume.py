"""A starting point for your own volumes: a coarse grid for two CPU cores.

    scn-keras datasets prepare landmark_folder/skulls --manual-dir FOLDER
    scn-keras train volume --set dataset=landmark_folder/skulls
    scn-keras evaluate runs/volume

The settings to adapt first are

- `image_to_grid.grid`: slices, rows and columns in the proportions of the volumes,
  multiples of 8;
- for CT, `image_to_grid.normalization=window` and
  `image_to_grid.normalization_limits=(-1000.0, 1000.0)`.

If heads or bodies have any orientation, start from `mouse_skull` instead.

Fast training requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
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
        name="volume",
        dataset="landmark_folder",
        validation=0.15,
        image_to_grid=ImageToGrid(
            grid=(64, 64, 64), normalization="percentile", axes="patient"
        ),
        peak="gaussian_fit",
        network=Network(
            filters=16,
            levels=4,
            dropout=0.2,
            spatial_kernel_size=5,
            spatial_factor=8,
            dtype="mixed_bfloat16",
        ),
        target=Target(sigma=1.5),
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02, average=0.995),
        augmentation=Augmentation(rotation=0.2, scale=0.1, scale_per_axis=0.05),
        batch_size=1,
        steps=3000,
        steps_per_epoch=200,
    )
