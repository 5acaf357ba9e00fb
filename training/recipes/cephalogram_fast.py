"""SpatialConfiguration-Net on cephalograms, trained on two CPU cores in 20 minutes.

Network: Payer et al., Medical Image Analysis 54, 2019, with 32 filters instead of 128.
The image has 0.5 mm per pixel and the heatmaps 1 mm per pixel; in the paper, both have
0.47 mm.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. Use
`--set observer=senior` for one observer, or `observer=random` for a random observer in
each step.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_fast
    scn-keras evaluate runs/cephalogram_fast

Expected result on Test1, mean observer: 1.108 mm, 87.9 % of points within 2 mm, after
18 minutes, and 1.159 mm with `--steps 3000`. docs/results.md has the protocol and
describes how the settings were chosen. The preset `cephalogram` is this model.

The time requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_fast",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        image_to_grid=ImageToGrid(grid=(480, 384)),
        peak="gaussian_fit",
        network=Network(
            filters=32,
            dropout=0.3,
            spatial_factor=8,
            stride=2,
            dtype="mixed_bfloat16",
        ),
        # Without gradients of norm 1, trainings collapse at 1e-3 and above.
        optimizer=Optimizer(learning_rate=1.6e-3, warmup=0.02, clip_norm="unit"),
        augmentation=Augmentation(
            rotation=0.2, scale=0.15, scale_per_axis=0.1, elastic=0.05
        ),
        batch_size=2,
        steps=6_000,
        steps_per_epoch=500,
    )
