"""A small SpatialConfiguration-Net on synthetic hands: minutes on two CPU cores.

For a first look, for teaching, and for tests: no download, no data to ask for.

    scn-keras datasets prepare synthetic_hand
    scn-keras train synthetic_hand --out runs/synthetic_hand
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="synthetic_hand",
        dataset="synthetic_hand",
        image_to_grid=ImageToGrid(grid=(160, 128)),
        network=Network(
            filters=32, dropout=0.25, spatial_kernel_size=9, spatial_factor=8
        ),
        optimizer=Optimizer(learning_rate=1e-3, warmup=0.02),
        augmentation=Augmentation(scale=0.1, scale_per_axis=0.05),
        batch_size=4,
        steps=800,
        steps_per_epoch=100,
    )
