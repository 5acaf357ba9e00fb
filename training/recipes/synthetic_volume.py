"""A small SpatialConfiguration-Net on synthetic CT volumes: minutes on two CPU cores.

It is intended for demonstrations in 3D, for teaching and for tests, and requires no
download.

    scn-keras datasets prepare synthetic_volume
    scn-keras train synthetic_volume --out runs/synthetic_volume
    scn-keras evaluate runs/synthetic_volume

Expected result on the ten test volumes, after seven minutes on one core: a median of
2.1 mm, which is less than half a pixel of the grid, and a mean of 5.5 mm. With 40
training volumes, the network does not yet learn to count up to the uppermost vertebrae.
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
        name="synthetic_volume",
        dataset="synthetic_volume",
        image_to_grid=ImageToGrid(
            grid=(64, 40, 40),
            normalization="window",
            normalization_limits=(-1000.0, 1000.0),  # Hounsfield units
        ),
        network=Network(
            filters=16, levels=3, dropout=0.2, spatial_kernel_size=5, spatial_factor=4
        ),
        target=Target(sigma=1.5),
        optimizer=Optimizer(learning_rate=2e-3, warmup=0.02),
        augmentation=Augmentation(rotation=0.2, scale=0.1, scale_per_axis=0.05),
        batch_size=2,
        steps=1500,
        steps_per_epoch=250,
    )
