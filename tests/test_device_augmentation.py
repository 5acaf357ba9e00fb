"""Augmentation of batches on the device, on every backend."""

import keras
import numpy as np
import pytest

from scn_keras.training.augmentation import Augmentation
from scn_keras.warp import KERAS, NUMPY

EVERYTHING = Augmentation(
    flip=0.5,
    elastic=0.1,
    blur=1.5,
    gamma=0.3,
    contrast=0.2,
    noise=0.1,
    erase=0.7,
)
IN_MM = Augmentation(
    translation=0.0, translation_mm=3.0, elastic_mm=4.0, any_rotation=True, crop="xyz"
)
GRIDS = pytest.mark.parametrize("grid", [(40, 32), (16, 20, 12)], ids=str)


def batch_of(grid, count=3):
    random, d = np.random.default_rng(0), len(grid)
    image = np.clip(random.normal(scale=0.5, size=(count, *grid, 1)), -1, 1)
    points = random.uniform(2, np.array(grid[::-1]) - 3, (count, 4, d))
    points[0, 1] = np.nan
    affine = np.tile(np.eye(d + 1), (count, 1, 1))
    affine[:, :d, :d] *= np.linspace(0.5, 1.5, d)
    affine[-1, :d, :d] = 0.0  # not calibrated
    return [a.astype("float32") for a in (image, points, affine)]


def apply(augmentation, drawn, batch, xp):
    def function(drawn, image, points, affine):
        return augmentation.apply(drawn, image, points, affine, pairs=[(0, 2)], xp=xp)

    if xp is KERAS and keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    convert = xp.convert_to_tensor
    result = function(
        {name: convert(value) for name, value in drawn.items()}, *map(convert, batch)
    )
    return keras.tree.map_structure(np.asarray, result)


@GRIDS
@pytest.mark.parametrize("augmentation", [EVERYTHING, IN_MM], ids=["all", "mm"])
def test_the_backend_gives_the_numbers_of_numpy(grid, augmentation):
    batch = batch_of(grid)
    drawn = augmentation.draw(5, grid, NUMPY, batch=(3,))
    expected_image, expected = apply(augmentation, drawn, batch, NUMPY)
    image, y = apply(augmentation, drawn, batch, KERAS)
    assert image.shape == batch[0].shape
    np.testing.assert_allclose(y["points"], expected["points"], rtol=0, atol=5e-4)
    np.testing.assert_allclose(y["affine"], expected["affine"], rtol=0, atol=1e-4)
    # White noise: a place that is off by 1e-5 px is off by as much in grey value.
    np.testing.assert_allclose(image, expected_image, rtol=0, atol=5e-4)
    assert np.isnan(y["points"][0]).any(axis=-1).sum() == 1
    assert np.abs(y["points"] - batch[1])[1:].max() > 1.0


def test_a_batch_is_its_samples():
    grid = (40, 32)
    batch = batch_of(grid)
    drawn = EVERYTHING.draw(6, grid, NUMPY, batch=(3,))
    image, y = apply(EVERYTHING, drawn, batch, KERAS)
    for row in range(3):
        single = {name: value[row] for name, value in drawn.items()}
        found, labels = apply(EVERYTHING, single, [a[row] for a in batch], NUMPY)
        np.testing.assert_allclose(found, image[row], rtol=0, atol=5e-4)
        np.testing.assert_allclose(
            labels["points"], y["points"][row], rtol=0, atol=5e-4
        )


def test_draws_on_the_device():
    grid = (12, 16)
    drawn = EVERYTHING.draw(3, grid, KERAS, batch=(200,))
    again = EVERYTHING.draw(3, grid, KERAS, batch=(200,))
    for name, value in drawn.items():
        assert value.shape[0] == 200
        np.testing.assert_array_equal(np.asarray(value), np.asarray(again[name]))
    shift = np.asarray(drawn["intensity_shift"]) / 0.25
    assert -1 <= shift.min() < -0.9 and 0.9 < shift.max() <= 1
    assert 60 < np.asarray(drawn["flip"]).sum() < 140
    seeds = keras.random.SeedGenerator(1)
    first, second = (
        np.asarray(EVERYTHING.draw(seeds, grid, KERAS)["noise"]) for _ in range(2)
    )
    assert (first != second).all()
