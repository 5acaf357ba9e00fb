"""Pictorial structures on the votes of a regression forest, on hand radiographs.

Method: the forests of `hand_ebner`. The points of the global forest are those of the
best configuration in a tree of springs (Felzenszwalb and Huttenlocher, IJCV 61, 2005,
see `PictorialStructures`), which is fitted to the training points. The combination is
ours.

Data: the Digital Hand Atlas, 37 landmarks.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_pictorial --set train_split=fold1[:36]
    scn-keras evaluate runs/hand_pictorial

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_pictorial",
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
            "spring_weight": 1.0,
        },
        augmentation=None,
    )
