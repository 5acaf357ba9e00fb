"""Global and local regression forests on hand radiographs, without a network.

Method: Ebner et al., MICCAI 2014, see `EbnerForest` for what is the paper's and what is
ours. The grid is that of `hand_fast`.

Data: the Digital Hand Atlas, 37 landmarks. The time of the training hardly depends on
the number of images, which is set by a slice of a fold:

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_ebner --set train_split=fold1[:36]
    scn-keras evaluate runs/hand_ebner

No result has been measured yet. Tables of later papers list 0.97 mm for Ebner et al.,
and 91.6 % of points within 2 mm, in three folds of 895 images.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_ebner",
        dataset="hand_xray",
        train_split="fold1",
        test_split="fold2",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(512, 384), normalization="percentile"),
        method="scn_keras.training:ClassicalMethod",
        method_settings={
            "kind": "EbnerForest",
            "global_factor": 4,
            "global_reach": 160.0,
            "vote_distance": 80.0,
            "local_radii": [40.0, 16.0],
        },
        augmentation=None,
    )
