"""The global network of Noothout et al. on cephalograms with the authors' settings.

It is the first of two trainings, before `cephalogram_global_to_local_reference`.
Settings are those of the published code of Noothout et al. (IEEE Transactions on
Medical Imaging 39(12), 2020): whole films of 0.1 mm per pixel, random parts of 992 x
992 pixels as the only augmentation, Adam with AMSGrad at a constant rate of 1e-3,
batches of four films, 300,000 steps, a classification weight of 20, and points rounded
to whole pixels.

Published result, with the local networks: medians of 0.46 to 2.12 mm of the 19
landmarks, in the README of their code, whose truth is the mean of both observers. There
is no result of this recipe yet, since it has not been trained completely.

Different from the authors: grey values from -1 to 1 instead of 0 to 255, which the
first normalisation equalises; films are padded at all sides instead of at the right and
below, so that they are interpolated by half a pixel in x; initial weights are those of
He et al. with a bias of -4 for the probability of a patch; and the last weights are the
model.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_global_reference
    scn-keras evaluate runs/cephalogram_global_reference

The 300,000 steps require a GPU.
"""

from scn_keras.training import ImageToGrid, Network, Optimizer, Recipe


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_global_reference",
        dataset="cephalogram",
        observer="mean",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(2400, 1952), grid_spacing=(0.1, 0.1)),
        window=(992, 992),
        network=Network(kind="GlobalNet"),
        loss="patches",
        loss_settings={"classification_weight": 20.0},
        peak="votes",
        peak_settings={"whole_pixels": True},
        optimizer=Optimizer(
            learning_rate=1e-3, schedule="constant", settings={"amsgrad": True}
        ),
        augmentation=None,
        batch_size=4,
        steps=300_000,
        steps_per_epoch=5000,
    )
