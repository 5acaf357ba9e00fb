"""SpatialConfiguration-Net on few hand radiographs: three minutes on one CPU core.

The grid is small, about 1.3 mm per pixel. The recipe is part of the comparison of
SpatialConfiguration-Net and U-Net with 5, 10, 20 and more training images in
`benchmarks/hand_training_images.py`, whose results are in docs/results.md. The number
of training images is set by a slice of a fold:

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_few --set train_split=fold1[:10]
    scn-keras evaluate runs/hand_few --split fold2
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_few",
        dataset="hand_xray",
        train_split="fold1",
        test_split="fold2",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(192, 144), normalization="percentile"),
        peak="gaussian_fit",
        network=Network(
            filters=32, dropout=0.3, spatial_factor=8, dtype="mixed_bfloat16"
        ),
        optimizer=Optimizer(learning_rate=3e-4, warmup=0.02, average=0.995),
        augmentation=Augmentation(
            rotation=0.3, scale=0.15, scale_per_axis=0.1, elastic=0.05
        ),
        batch_size=2,
        steps=2000,
        steps_per_epoch=500,
    )
