"""Regression forests with a shape model on cephalograms, without a network.

Method: Lindner et al., IEEE TPAMI 37, 2015, see `LindnerForest` for what is the paper's
and what is ours.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on. The grid is that of `cephalogram_fast`, 0.5 mm per pixel.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_lindner
    scn-keras evaluate runs/cephalogram_lindner

No result has been measured yet. Published by Lindner et al. on Test1, against the
senior observer: 1.67 mm.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_lindner",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(480, 384)),
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "LindnerForest"},
        augmentation=None,
    )
