"""Candidates of forests and a random field on cephalograms, without a network.

Method: Donner et al., Medical Image Analysis 17, 2013, see `DonnerCandidates` for what
is the paper's and what is ours.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on. The grid is that of `cephalogram_fast`, 0.5 mm per pixel.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_donner
    scn-keras evaluate runs/cephalogram_donner

No result has been measured yet.
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_donner",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(480, 384)),
        method="scn_keras.training:ClassicalMethod",
        method_settings={
            "kind": "DonnerCandidates",
            "global_reach": 160.0,
            "vote_distance": 80.0,
        },
        augmentation=None,
    )
