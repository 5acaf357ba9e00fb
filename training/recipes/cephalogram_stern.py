"""Local to global regression forests on cephalograms, without a network.

Method: Štern et al., MICCAI 2016, see `SternForest` for what is the paper's and what is
ours.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on. The grid is that of `cephalogram_fast`, 0.5 mm per pixel.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_stern
    scn-keras evaluate runs/cephalogram_stern

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_stern",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(480, 384)),
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "SternForest", "feature_reach": 40.0},
        augmentation=None,
    )
