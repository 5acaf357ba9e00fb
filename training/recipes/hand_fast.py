"""SpatialConfiguration-Net on hand radiographs, trained on two CPU cores in 10 minutes.

Network: Payer et al., Medical Image Analysis 54, 2019, with 32 filters instead of 128.

Data: the Digital Hand Atlas, 37 landmarks, trained on folds 1 and 2 and tested on fold
3, which is the published set 3. For other folds, use for example
`--set train_split=fold1` and `scn-keras evaluate runs/hand_fast --split fold2`.

    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_fast
    scn-keras evaluate runs/hand_fast

Expected result, trained on fold 1 and tested on fold 2: 0.770 mm, 93.5 % of points
within 2 mm, after 10 minutes; see docs/results.md. The preset `hand` is this model.

The time requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
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
        # Heatmaps have 256 x 192 pixels, the image has twice that resolution.
        network=Network(
            filters=32,
            dropout=0.3,
            spatial_factor=8,
            stride=2,
            dtype="mixed_bfloat16",
        ),
        # Without gradients of norm 1, trainings collapse at 1e-3 and above.
        optimizer=Optimizer(
            learning_rate=1.6e-3, warmup=0.02, clip_norm="unit", average=0.998
        ),
        augmentation=Augmentation(
            rotation=0.3, scale=0.15, scale_per_axis=0.1, elastic=0.05
        ),
        batch_size=2,
        steps=3000,
        steps_per_epoch=500,
    )
