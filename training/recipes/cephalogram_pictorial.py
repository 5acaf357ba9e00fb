"""Pictorial structures on the votes of a regression forest, on cephalograms.

Method: the forests of `cephalogram_ebner`. The points of the global forest are those of
the best configuration in a tree of springs (Felzenszwalb and Huttenlocher, IJCV 61,
2005, see `PictorialStructures`), which is fitted to the training points. The
combination is ours.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_pictorial
    scn-keras evaluate runs/cephalogram_pictorial

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_pictorial",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(480, 384)),
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
