"""SpatialConfiguration-Net on cephalograms, as two CPU cores train it in an hour.

Half a millimetre a pixel, heatmaps of a millimetre a pixel, 32 filters; the paper has
0.47 mm for both and 128.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_fast
    scn-keras evaluate runs/cephalogram_fast

Results and how its settings were chosen: docs/results.md. Trained on the mean of both
observers; `--set observer=senior` for one of them, `random` for either at every draw.

Needs a processor with bfloat16 instructions to take the time stated there; on others
set network.dtype=float32.
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
        # At 1e-3 it falls into heatmaps worse than empty ones, and stays there.
        optimizer=Optimizer(learning_rate=4e-4, warmup=0.02),
        augmentation=Augmentation(
            rotation=0.2, scale=0.15, scale_per_axis=0.1, elastic=0.05
        ),
        batch_size=2,
        steps=20_000,
        steps_per_epoch=500,
    )
