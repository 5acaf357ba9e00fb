"""SpatialConfiguration-Net on hand radiographs, as two CPU cores train it.

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_fast
    scn-keras evaluate runs/hand_fast

Trained on folds 1 and 2, tested on fold 3, the published set 3; with other folds,
`--set train_split=fold1` and `scn-keras evaluate runs/hand_fast --split fold2`.

Needs a processor with bfloat16 instructions to take the time stated in
docs/results.md; on others set network.dtype=float32.
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_fast",
        dataset="hand_xray",
        train_split="fold1+fold2",
        test_split="fold3",
        image_to_grid=ImageToGrid(grid=(512, 384), normalization="percentile"),
        peak="gaussian_fit",
        # Heatmaps of 256 x 192; the details of the image are seen at twice that.
        network=Network(
            filters=32,
            dropout=0.3,
            spatial_factor=8,
            stride=2,
            dtype="mixed_bfloat16",
        ),
        optimizer=Optimizer(learning_rate=5e-4, warmup=0.02, average=0.998),
        augmentation=Augmentation(
            rotation=0.3, scale=0.15, scale_per_axis=0.1, elastic=0.05
        ),
        batch_size=2,
        steps=8000,
        steps_per_epoch=400,
    )
