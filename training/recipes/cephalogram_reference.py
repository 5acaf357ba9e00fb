"""The published SpatialConfiguration-Net on cephalograms: 512 x 512, 128 filters.

Settings are those of Payer et al. (Medical Image Analysis 54, 2019): SGD with
Nesterov momentum 0.99, batches of one image, 30,000 steps, sigmas learned with the
network, and heatmaps of missing landmarks trained to be empty. The final weights are
the model. docs/guides/networks.md lists the remaining differences with their sizes.

    scn-keras datasets prepare cephalogram --manual-dir FOLDER
    scn-keras train cephalogram_reference
    scn-keras evaluate runs/cephalogram_reference

A step takes 5 to 7 seconds on two CPU cores, so that the 30,000 steps require a GPU.
There is no result yet, since this recipe has not been trained completely. See
`cephalogram_fast` for a trained one.
"""

from scn_keras.training import (
    Augmentation,
    ImageToGrid,
    Network,
    Optimizer,
    Recipe,
    Target,
)


def recipe() -> Recipe:
    return Recipe(
        name="cephalogram_reference",
        dataset="cephalogram",
        observer="senior",
        test_split="test1",
        validation=0.0,
        image_to_grid=ImageToGrid(grid=(512, 512)),
        peak="parabola",
        network=Network(),
        target=Target(sigma=2.5, gamma=100.0, sigma_penalty=20.0, missing="zero"),
        optimizer=Optimizer(
            name="sgd",
            learning_rate=1e-6,
            warmup=0.0,
            final=1.0,
            momentum=0.99,
            clip_norm=1e4,
            weight_decay=1e-3,
        ),
        augmentation=Augmentation.cephalogram(),
        batch_size=1,
        steps=30_000,
        steps_per_epoch=1000,
    )
