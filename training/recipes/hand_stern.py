"""Local to global regression forests on hand radiographs, without a network.

Method: Štern et al., MICCAI 2016, see `SternForest` for what is the paper's and what is
ours.

Data: the Digital Hand Atlas, 37 landmarks. The grid is that of `hand_fast`.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_stern
    scn-keras evaluate runs/hand_stern

No result has been measured yet. Tables of later papers list 0.80 mm for Štern et al.,
in three folds of 895 images.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_stern",
        dataset="hand_xray",
        train_split="fold1",
        test_split="fold2",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(512, 384), normalization="percentile"),
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "SternForest"},
        augmentation=None,
    )
