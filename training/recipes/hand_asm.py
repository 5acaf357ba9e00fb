"""An active shape model on hand radiographs, without a network.

Method: Cootes et al., CVIU 61, 1995, see `ActiveShapeModel` for what is the paper's and
what is ours. A lower bar for other methods.

Data: the Digital Hand Atlas, 37 landmarks. The grid is that of `hand_fast`.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_asm
    scn-keras evaluate runs/hand_asm

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_asm",
        dataset="hand_xray",
        train_split="fold1",
        test_split="fold2",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(512, 384), normalization="percentile"),
        method="scn_keras.training:ClassicalMethod",
        method_settings={"kind": "ActiveShapeModel"},
        augmentation=None,
    )
