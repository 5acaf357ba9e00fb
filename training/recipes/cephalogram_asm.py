"""An active shape model on cephalograms, without a network.

Method: Cootes et al., CVIU 61, 1995, see `ActiveShapeModel` for what is the paper's and
what is ours. A lower bar for other methods.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on. The grid is that of `cephalogram_fast`, 0.5 mm per pixel.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_asm
    scn-keras evaluate runs/cephalogram_asm

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_asm",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(480, 384)),
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "ActiveShapeModel"},
        augmentation=None,
    )
