"""A start for anyone's own 2D images: few settings to change, an hour on two CPU cores.

    scn-keras datasets prepare landmark_folder/knees --manual-dir FOLDER
    scn-keras train radiograph --set dataset=landmark_folder/knees

What to change first: `grid` (rows, columns; in the proportions of the images, multiples
of 16), so that two neighbouring landmarks are ten pixels or more apart; `steps`, which
should show every image some hundred times; `train_split` and `test_split`, where the
set has folds.

Needs a processor with bfloat16 instructions to be that fast; on others set
network.dtype=float32.
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="radiograph",
        dataset="landmark_folder",
        validation=0.15,
        image_to_grid=ImageToGrid(grid=(320, 320), normalization="percentile"),
        # Images of unlike exposure and number types look alike.
        peak="gaussian_fit",
        network=Network(filters=32, dropout=0.3, dtype="mixed_bfloat16"),
        optimizer=Optimizer(learning_rate=3e-4, warmup=0.02, average=0.995),
        augmentation=Augmentation(rotation=0.2, scale=0.15, scale_per_axis=0.1),
        batch_size=2,
        steps=3000,
        steps_per_epoch=200,
    )
