"""A start for anyone's own volumes: coarse, so that two CPU cores can train it.

    scn-keras datasets prepare landmark_folder/skulls --manual-dir FOLDER
    scn-keras train volume --set dataset=landmark_folder/skulls

What to change first: `grid` (slices, rows, columns; in the proportions of the volumes,
multiples of 8); for CT `normalization=window` with `normalization_limits=(-1000.0,
1000.0)`. Where heads or bodies lie in any pose, begin with `mouse_skull` instead.

Needs a processor with bfloat16 instructions to be fast; on others set
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
        image_to_grid=ImageToGrid(grid=(64, 64, 64), normalization="percentile"),
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
