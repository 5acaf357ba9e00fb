"""A recipe with user-defined parts. In this folder, run
`scn-keras datasets prepare own_parts:Crosses`, then `scn-keras train own_parts.py`."""

import keras
import numpy as np
import tensorflow_datasets as tfds

from scn_keras import LandmarkSchema
from scn_keras.datasets import LandmarkBuilder
from scn_keras.layers import SpatialConfiguration
from scn_keras.models import with_spatial_configuration
from scn_keras.training import ImageToGrid, Network, Recipe
from scn_keras.training.augmentation import Rotation


class Crosses(LandmarkBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("upper", "lower"))

    def _split_generators(self, dl_manager):
        return {"train": self._draw(24, seed=0), "test": self._draw(6, seed=1)}

    def _draw(self, count, seed):
        random, (y, x) = np.random.default_rng(seed), np.mgrid[:80, :72]
        for n in range(count):
            points = random.uniform((16, 12), (56, 28), (2, 2)) + [[0, 0], [0, 36]]
            image = random.integers(0, 40, x.shape, "uint8")
            for (px, py), size in zip(points, (9, 5), strict=True):
                far, near = np.sort([abs(x - px), abs(y - py)], axis=0)[::-1]
                image[(far < size) & (near < 2)] = 220
            yield n, self.sample(f"{seed}-{n}", image, {"points": points}, np.eye(3))


def mobile_net(num_landmarks, image_shape, alpha=0.35):
    options = {"alpha": alpha, "include_top": False, "weights": None}
    trunk = keras.applications.MobileNetV2((*image_shape[:-1], 3), **options)
    trunk = keras.Model(trunk.input, trunk.get_layer("block_3_expand_relu").output)
    image = keras.Input(image_shape)
    features = trunk(keras.layers.Concatenate()([image, image, image]))
    spatial = SpatialConfiguration(filters=8, kernel_size=3, factor=2)
    network = with_spatial_configuration(
        keras.Model(image, features), num_landmarks, spatial, heatmap_initializer=0.01
    )
    network.heatmap_stride = 4  # pixels of the image to one of the heatmaps
    return network


@keras.saving.register_keras_serializable(package="own_parts")  # to resume a training
class Charbonnier(keras.losses.Loss):
    def call(self, y_true, y_pred):  # returns one value per image and landmark
        return keras.ops.sum(keras.ops.sqrt(1.0 + (y_true - y_pred) ** 2) - 1.0, (1, 2))


def scanner_line(image, parameters, xp, strength=0.3):
    """Brightens a band of rows, as dirt in a scanner does."""
    rows = xp.convert_to_tensor(np.linspace(-1, 1, image.shape[-2], dtype="float32"))
    return image + strength * xp.exp(-200 * (rows - parameters) ** 2)[..., None]


class Announcement(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(
            f"{epoch + 1}: {logs.get('val_point_error', np.nan):.1f} mm in new images."
        )


def recipe() -> Recipe:
    return Recipe(
        name="own_parts",
        dataset=Crosses,
        validation=0.25,
        steps=200,
        steps_per_epoch=50,
        batch_size=4,
        callbacks=(Announcement,),
        image_to_grid=ImageToGrid((80, 72)),
        network=Network(mobile_net, alpha=0.35),
        augmentation=[Rotation(0.1), scanner_line],
        loss=Charbonnier,
    )
