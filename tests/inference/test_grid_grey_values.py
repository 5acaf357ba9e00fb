"""Grey values on the grid, against the rules of the authors' code in plain NumPy."""

import json

import numpy as np
import pytest
import tensorflow as tf

from scn_keras import warp
from scn_keras.array_api import KERAS, TENSORFLOW
from scn_keras.inference import ImageToGrid, resample
from scn_keras.inference.grid_grey_values import clip_on_grid, normalize_on_grid
from scn_keras.training import Augmentation, Network, Recipe
from scn_keras.training.input import pipeline

HANDS = ImageToGrid((16, 16), None, "grid_percentile", (0.05, 0.95))
CT = ImageToGrid(
    (8, 8, 8),
    (2.0, 2.0, 2.0),
    "window",
    (-2048.0, 2048.0),
    clip_last=True,
    outside=-3024.0,
)


def robust(image):
    """The rule of the authors: sorted pixels n p and n p - 1, nothing clipped."""
    values = sorted(np.ravel(image).tolist())
    low, high = values[int(len(values) * 0.05)], values[int(len(values) * 0.95) - 1]
    return -1.0 + 2.0 * (image - low) / (high - low)


@pytest.mark.parametrize("xp", [warp.NUMPY, TENSORFLOW, KERAS], ids="NTK")
def test_percentiles_of_the_grid_are_those_of_the_authors(xp):
    random = np.random.default_rng(0)
    images = random.gamma(1.0, size=(2, 16, 16)).astype("float32")
    images[1, :, :9] = 0.0  # padding
    found = normalize_on_grid(xp.convert_to_tensor(images), HANDS, xp)
    found = np.asarray(clip_on_grid(found, HANDS, xp))
    for image, values in zip(images, found, strict=True):
        np.testing.assert_allclose(values, robust(image), rtol=1e-4, atol=1e-5)
        assert values.max() > 1.5


def test_an_image_of_one_grey_value_becomes_black():
    image = np.full((1, 16, 16), 0.3, "float32")
    np.testing.assert_array_equal(normalize_on_grid(image, HANDS, warp.NUMPY), -1.0)


def hand():
    """A bright wedge of 24 x 12 pixels, of which the grid pads half."""
    y, x = np.mgrid[:24, :12]
    return (10.0 * y + x).astype("uint8")


def recipe(image_to_grid, **settings):
    return Recipe(
        "small",
        "synthetic_hand",
        image_to_grid=image_to_grid,
        network=Network(levels=1, spatial_factor=4),
        **settings,
    )


def test_padding_counts_and_training_sees_what_evaluation_sees():
    image = tf.constant(hand()[..., None] / np.float32(255.0))
    plain = ImageToGrid((16, 16))
    before = resample.resample_to_grid(
        resample.reduce_image(image, plain, tf.ones(2)), (16, 16), None, plain
    )
    reduced = resample.reduce_image(image, HANDS, tf.ones(2))
    found = resample.resample_to_grid(reduced, HANDS.grid, None, HANDS).numpy()
    assert (before.numpy() == -1.0).mean() > 0.4  # padding
    np.testing.assert_allclose(found, robust(before.numpy()), rtol=1e-4, atol=1e-5)
    points, affine = tf.zeros((2, 2)), tf.eye(3)
    element, _ = pipeline.grid_element(
        reduced, points, affine, recipe(HANDS, augmentation=None)
    )
    np.testing.assert_allclose(element, found, rtol=0, atol=1e-5)
    # Grey values are shifted after that, and nothing is clipped.
    augmentation = Augmentation(0.0, 0.0, 0.0, 0.0, 0.15, 0.0, clip=False)
    drawn = augmentation.draw((0, 0), HANDS.grid, TENSORFLOW)
    drawn["intensity_shift"] = tf.constant(0.1)
    shifted, _ = pipeline.grid_element(
        reduced, points, affine, recipe(HANDS, augmentation=augmentation), drawn
    )
    np.testing.assert_allclose(shifted, found + 0.1, rtol=0, atol=1e-5)
    assert shifted.numpy().max() > 1.1


def test_air_around_a_volume_stays_black_under_a_shift():
    volume = np.full((4, 4, 4, 1), 500.0, "float32")
    volume[:, :, 0] = -3024.0
    reduced = resample.reduce_image(tf.constant(volume), CT, tf.fill([3], 2.0))
    # Not clipped yet: 500 / 2048, and -3024 / 2048 beyond -1.
    np.testing.assert_allclose(
        np.unique(reduced.image), [-3024 / 2048, 500 / 2048], atol=1e-6
    )
    shifted = {}
    for name, to_grid in (("last", CT), ("first", _clipped_first())):
        reduced = resample.reduce_image(tf.constant(volume), to_grid, tf.fill([3], 2.0))
        grid = resample.resample_to_grid(reduced, to_grid.grid, None, to_grid)
        assert (grid.numpy().min(), grid.numpy().max()) == pytest.approx(
            (-1.0, 500 / 2048), abs=1e-6
        )
        flat, sizes = resample.flatten(reduced.image, to_grid.outside_value)
        augmentation = Augmentation(0.0, 0.0, 0.0, 0.0, 0.25, 0.0)
        drawn = augmentation.draw((0, 0), to_grid.grid, TENSORFLOW)
        drawn["intensity_shift"] = tf.constant(0.2)
        image, _ = pipeline.on_grid(
            reduced._replace(image=flat),
            sizes,
            tf.linalg.diag([2.0, 2.0, 2.0, 1.0]),
            tf.zeros((1, 3)),
            recipe(to_grid, augmentation=augmentation),
            drawn,
            (),
            TENSORFLOW,
        )
        shifted[name] = image.numpy()
    # The reference clamps last: -3024 / 2048 + 0.2 is still below -1.
    assert shifted["last"].min() == -1.0
    np.testing.assert_allclose(shifted["last"].max(), 500 / 2048 + 0.2, atol=1e-6)
    # Clipped first, air and surroundings are brightened.
    np.testing.assert_allclose(shifted["first"].min(), -0.8, atol=1e-6)


def _clipped_first():
    return ImageToGrid((8, 8, 8), (2.0, 2.0, 2.0), "window", (-2048.0, 2048.0))


@pytest.mark.parametrize("to_grid", [HANDS, CT])
def test_recipes_store_the_settings(to_grid):
    made = recipe(to_grid)
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization_limits": (-3.0, 3.0)}, "fractions from 0 to 1"),
        ({"clip_last": True}, "`clip_last` is used by the normalizations percentile"),
        ({"outside": -3024.0}, "`outside` is a finite stored value"),
    ],
)
def test_settings_that_do_not_match(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageToGrid((8, 8), normalization="grid_percentile", **settings)
