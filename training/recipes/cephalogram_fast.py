"""SpatialConfiguration-Net on cephalograms, as two CPU cores train it in an hour.

Half a millimetre a pixel and 32 filters instead of the paper's 0.47 mm and 128.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_fast --set observer=mean --out runs/cephalogram_mean
    scn-keras evaluate runs/cephalogram_mean

Test1 without repeated films (127), one model, no test-time augmentation: 1.28 mm and
82.4 % within 2 mm (mean observer, against the mean); without --set, 1.67 mm and 73.9 %
(senior, against the senior). 57 minutes on one core. More steps are likely to help.

Needs a processor with bfloat16 instructions to take the time stated in
docs/results.md; on others set network.dtype=float32.
"""

from scn_keras.training.augmentation import Augmentation
from scn_keras.training.recipe import Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_fast",
        dataset="cephalogram",
        observer="senior",
        test_split="test1",
        grid=(480, 384),
        network=Network(filters=32, dropout=0.3, dtype="mixed_bfloat16"),
        # At 1e-3 it falls into heatmaps worse than empty ones, and stays there.
        optimizer=Optimizer(learning_rate=3e-4, warmup=0.006),
        augmentation=Augmentation(rotation=0.2, scale=0.15, scale_per_axis=0.1),
        batch_size=2,
        steps=3400,
        steps_per_epoch=200,
    )
