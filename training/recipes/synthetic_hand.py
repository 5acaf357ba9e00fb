"""A small SpatialConfiguration-Net on synthetic hands: minutes on two CPU cores.

It is intended for demonstrations, for teaching and for tests, and requires no download.

    scn-keras datasets prepare synthetic_hand
    scn-keras train synthetic_hand --out runs/synthetic_hand
    scn-keras evaluate runs/synthetic_hand

Expected result on the 50 test images: 0.77 mm, 95.8 % of points within 2 mm, see
docs/results.md.
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
