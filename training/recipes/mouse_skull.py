"""45 landmarks in micro-CT of mouse heads in any orientation, coarse to fine.

A small U-Net processes the whole volume at 0.9 mm per voxel. It is trained with random
rotations, uniform in SO(3). The mean shape of the training heads is aligned with its
points and defines pose and size of the head. A SpatialConfiguration-Net then processes
only the head, in a normalised pose, at 0.3 mm per voxel. `mouse_skull_unet` has a U-Net
instead.

Data: micro-CT of 20 mouse heads (Maga et al., Journal of Anatomy, 2017). 15 heads are
used for training; SJL/J, A/J, CAF1/J, CAST/EiJ and FVB/NJ for testing.

    scn-keras datasets prepare landmark_folder/mouse_skull --manual-dir FOLDER
    scn-keras train mouse_skull
    scn-keras evaluate runs/mouse_skull

Expected result on the five test heads: 0.191 mm, 1.35 voxels, after 12 minutes on two
CPU cores (docs/results.md).

All settings were chosen with 3 of the 15 training heads (`--set validation=0.2`). On
these three, the error of the coarse stage's points is 2.3 mm (many of them are on the
wrong side), of the aligned pose 0.26 mm, of the mean shape in that pose 0.35 mm, and of
the fine stage's points 0.195 mm, or 0.22 mm with the U-Net.
"""

import dataclasses

from scn_keras.training import (
    Augmentation,
    ImageToGrid,
    Network,
    Optimizer,
    Recipe,
    Target,
)


def recipe() -> Recipe:
    coarse = _coarse()
    return dataclasses.replace(
        coarse,
        name="mouse_skull",
        # TFDS stores samples in an order that depends only on their ids.
        train_split="train[:15]",
        test_split="train[15:]",
        validation=0.0,
        image_to_grid=ImageToGrid((88, 48, 40), grid_spacing=(0.3, 0.3, 0.3)),
        network=Network(
            filters=16,
            levels=4,
            dropout=0.0,
            spatial_kernel_size=3,
            spatial_factor=8,
            heatmap_initializer=0.05,
            dtype="mixed_bfloat16",
        ),
        # At 3e-3, the spatial configuration saturates in the first steps.
        optimizer=dataclasses.replace(
            coarse.optimizer, learning_rate=1.5e-3, clip_norm="unit"
        ),
        # Slightly more than the errors of the coarse stage on held-out heads (0.3 mm,
        # at most 0.7 mm).
        augmentation=Augmentation(
            translation=0.0,
            translation_mm=0.7,
            rotation=0.12,
            scale=0.06,
            scale_per_axis=0.03,
            elastic=0.02,
            gamma=0.3,
        ),
        steps=900,
        steps_per_epoch=100,
        coarse=coarse,
    )


def _coarse() -> Recipe:
    return Recipe(
        name="mouse_skull_coarse",
        dataset="landmark_folder/mouse_skull",
        image_to_grid=ImageToGrid(
            grid=(40, 40, 40),
            grid_spacing=(0.9, 0.9, 0.9),
            normalization="percentile",
            normalization_limits=(0.01, 0.995),
        ),
        network=Network(
            kind="LocalizationUNet", filters=24, levels=4, dtype="mixed_bfloat16"
        ),
        # A softmax over all voxels learns in hundreds of steps what Gaussian heatmaps
        # learn in thousands. The point is the mean around the most probable voxel.
        target=Target(sigma=1.0, gamma=None, learnable=False, sigma_penalty=0.0),
        loss="softmax_crossentropy",
        peak="soft_argmax",
        peak_settings={"temperature": 1.0, "window": 7},
        optimizer=Optimizer(
            learning_rate=2e-3, warmup=0.03, clip_norm=5.0, average=0.99
        ),
        augmentation=Augmentation(
            any_rotation=True,
            translation=0.08,
            scale=0.15,
            scale_per_axis=0.05,
            elastic=0.03,
        ),
        batch_size=1,
        steps=2500,
        steps_per_epoch=250,
    )
