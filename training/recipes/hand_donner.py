"""Candidates of forests and a random field on hand radiographs, without a network.

Method: Donner et al., Medical Image Analysis 17, 2013, see `DonnerCandidates` for what
is the paper's and what is ours.

Data: the Digital Hand Atlas, 37 landmarks. The grid is that of `hand_fast`.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare hand_xray --manual-dir FOLDER
    scn-keras train hand_donner
    scn-keras evaluate runs/hand_donner

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="hand_donner",
        dataset="hand_xray",
        train_split="fold1",
        test_split="fold2",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(512, 384), normalization="percentile"),
        method="scn_keras.training:ClassicalMethod",
        method_settings={
            "kind": "DonnerCandidates",
            "global_reach": 160.0,
            "vote_distance": 80.0,
        },
        augmentation=None,
    )
