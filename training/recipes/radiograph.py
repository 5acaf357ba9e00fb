"""A starting point for your own 2D images: an hour on two CPU cores.

    scn-keras datasets prepare landmark_folder/knees --manual-dir FOLDER
    scn-keras train radiograph --set dataset=landmark_folder/knees
    scn-keras evaluate runs/radiograph

The settings to adapt first are

- `image_to_grid.grid`: rows and columns in the proportions of the images, multiples of
  16, so that neighbouring landmarks are at least ten pixels apart;
- `steps`: enough that every image is used about a hundred times;
- `train_split` and `test_split`, if the data set has folds.

The time requires a processor with bfloat16 instructions. On other processors set
network.dtype=float32.
"""

from scn_keras.training import Augmentation, ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="radiograph",
        dataset="landmark_folder",
        validation=0.15,
        # Percentiles make images of different exposure and pixel types similar.
        image_to_grid=ImageToGrid(grid=(320, 320), normalization="percentile"),
        peak="gaussian_fit",
        network=Network(filters=32, dropout=0.3, dtype="mixed_bfloat16"),
        optimizer=Optimizer(learning_rate=3e-4, warmup=0.02, average=0.995),
        augmentation=Augmentation(rotation=0.2, scale=0.15, scale_per_axis=0.1),
        batch_size=2,
        steps=3000,
        steps_per_epoch=200,
    )
