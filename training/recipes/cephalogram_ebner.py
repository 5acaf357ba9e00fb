"""Global and local regression forests on cephalograms, without a network.

Method: Ebner et al., MICCAI 2014, see `EbnerForest` for what is the paper's and what is
ours. The grid is that of `cephalogram_fast`, 0.5 mm per pixel: the global forest sees
2 mm per pixel, the local ones are trained within 20 mm and 8 mm of the landmarks.

Data: the ISBI 2015 challenge, with the mean of both observers as truth. All 150 films
are trained on.

    pip install 'scn-keras[classical]'
    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_ebner
    scn-keras evaluate runs/cephalogram_ebner

No result on Test1 has been measured yet. Published for regression forests with a shape
model, against the senior observer: 1.67 mm (Lindner et al. 2015).
"""

from scn_keras.training import ImageToGrid, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_ebner",
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
        },
        augmentation=None,
    )
