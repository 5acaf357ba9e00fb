"""Numbers of the augmentation, to be compared with those of earlier versions.

`frozen_numbers.npz` holds those of commit ace4a16 (version 0.1), written in a checkout
of that commit by

    python FOLDER/frozen_numbers.py FOLDER/frozen_numbers.npz

with FOLDER this one.
"""

import inspect
import sys

import numpy as np
import tensorflow as tf

from scn_keras import warp
from scn_keras.training.augmentation import Augmentation

GRIDS = ((8, 6), (4, 6, 5))
ALL = {"flip": 0.5, "crop": "xz", "elastic": 0.1, "blur": 1.2, "gamma": 0.3}
ALL |= {"contrast": 0.2, "noise": 0.1, "erase": 0.7, "erase_size": 0.4}
IN_MM = {"translation": 0.0, "translation_mm": 1.0, "elastic_mm": 0.5, "crop": "xyz"}
SETTINGS = {
    "default": Augmentation(),
    "all": Augmentation(**ALL),
    "off": Augmentation(0, 0, 0, 0, 0, 0, flip=0.3, noise=0.2, clip=False),
    "mm": Augmentation(**IN_MM, any_rotation=True, elastic_points=4),
}


def image_of(grid, count=2):
    """Images, points and affines of a batch; one point is missing."""
    random, d = np.random.default_rng(0), len(grid)
    image = random.uniform(-1, 1, (count, *grid, 1)).astype("float32")
    points = random.uniform(1, 3, (count, 3, d)).astype("float32")
    points[0, 1] = np.nan
    affine = np.tile(np.diag([*np.linspace(0.5, 1.5, d), 1.0]), (count, 1, 1))
    return image, points, affine.astype("float32")


def numbers(augmentation, grid, tensorflow):
    """What is drawn for a batch of two, and what it does to images."""
    # The array namespace was called `arrays`.
    old = "arrays" in inspect.signature(Augmentation.apply).parameters
    image, points, affine = image_of(grid)

    def applied(drawn, row, xp):
        arrays = [xp.convert_to_tensor(a[row]) for a in (image, points, affine)]
        named = {"arrays" if old else "xp": xp}
        image_, y = augmentation.apply(drawn, *arrays, [(0, 2)], **named)
        return {**drawn, "result/image": image_, **{f"result/{n}": y[n] for n in y}}

    everything = slice(None)
    if not tensorflow:
        drawn = augmentation.draw([5, 3], grid, warp.NUMPY, (2,))
        return applied(drawn, everything, warp.NUMPY)
    if old:
        from scn_keras.training.preprocessing import TENSORFLOW
    else:
        from scn_keras.array_api import TENSORFLOW

    def one(number):
        seed = tf.stack([tf.constant(5, tf.int64), number])
        drawn = augmentation.draw(seed, grid, TENSORFLOW)
        return applied(drawn, 1, TENSORFLOW)

    elements = tf.data.Dataset.range(2).map(one).batch(2)
    return {name: value.numpy() for name, value in next(iter(elements)).items()}


def all_numbers():
    """The numbers of all settings, by `setting/grid/library/name`."""
    result = {}
    for name, augmentation in SETTINGS.items():
        for grid in GRIDS:
            for library in ("numpy", "tensorflow"):
                found = numbers(augmentation, grid, library == "tensorflow")
                key = f"{name}/{len(grid)}D/{library}"
                result |= {f"{key}/{n}": value for n, value in found.items()}
    return result


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **all_numbers())
