"""Augmentation of batches on the device, on every backend."""

import dataclasses

import keras
import numpy as np
import pytest

from scn_keras.inference import ImageToGrid
from scn_keras.inference.reduced_image import ReducedImage
from scn_keras.training.augmentation import (
    Augmentation,
    GeometricTransform,
    IntensityTransform,
)
from scn_keras.training.input import array_source
from scn_keras.training.input.on_grid import on_grid
from scn_keras.training.recipe import Network, Recipe
from scn_keras.warp import KERAS, NUMPY, add_axes, grid_axes


def lines(image, parameters, xp, strength=0.2):
    """Grey waves along the rows, with a parameter each for height and phase."""
    d = len(image.shape) - len(parameters.shape) + 1
    height, phase = (add_axes(parameters[..., k], d) for k in range(2))
    rows = grid_axes(image.shape[-d:], xp)[1]
    return image + strength * height * xp.sin(rows + 3.0 * phase)


lines.num_parameters = 2


class Speckle(IntensityTransform):
    """Multiplies by a field that it draws itself."""

    def count(self, dimensions):
        return 0

    def draw(self, unit, grid, xp, seed=None):
        shape = (*xp.shape(unit)[:-1], *grid)
        return {"field": xp.cast(xp.normal(seed, shape), "float32") * 0.1}

    def apply(self, image, parameters, xp):
        return image * (1.0 + parameters["field"])


@dataclasses.dataclass(frozen=True)
class Shear(GeometricTransform):
    """Moves each row along x in proportion to its distance from the first."""

    shear: float

    def count(self, dimensions):
        return 1

    def draw(self, unit, grid, xp, seed=None):
        return {"shear": unit[..., 0] * self.shear}

    def affine(self, parameters, grid, spacing, size, xp):
        d, shear = len(grid), parameters["shear"]
        rows = [
            [shear * 0.0 + float(i == j) for j in range(d + 1)] for i in range(d + 1)
        ]
        rows[0][1] = rows[0][1] - shear
        return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


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
USERS = dataclasses.replace(EVERYTHING, transforms=(lines, Shear(0.2), Speckle()))
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
@pytest.mark.parametrize(
    "augmentation", [EVERYTHING, IN_MM, USERS], ids=["all", "mm", "users"]
)
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


def test_draws_for_user_transforms_on_the_device():
    grid = (12, 16)
    drawn = USERS.draw(3, grid, KERAS, batch=(200,))
    plain = EVERYTHING.draw(3, grid, KERAS, batch=(200,))
    for name, value in plain.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(drawn[name]))
    unit = np.asarray(drawn["transforms.0.parameters"])
    assert unit.shape == (200, 2) and unit.dtype == np.float32
    assert -1 <= unit.min() < -0.9 and 0.9 < unit.max() <= 1
    field = np.asarray(drawn["transforms.2.field"])
    assert field.shape == (200, *grid)
    assert 0.097 < field.std() < 0.103
    USERS.validate(grid)


@GRIDS
def test_batches_of_arrays_are_compiled_with_user_transforms(grid):
    recipe = Recipe(
        name="tiny",
        dataset="dots",
        image_to_grid=ImageToGrid(grid),
        network=Network(levels=1, spatial_factor=1),
        augmentation=USERS,
    )
    random, d = np.random.default_rng(0), len(grid)
    sizes = np.array([[size + 2 for size in grid]] * 2, "int32")  # with a border
    flat = random.uniform(-1, 1, (2, int(np.prod(sizes[0])))).astype("float16")
    points = random.uniform(2, min(grid) - 3, (2, 3, d)).astype("float32")
    identity = np.tile(np.eye(d + 1, dtype="float32"), (2, 1, 1))
    size = np.tile(np.array(grid[::-1], "float32"), (2, 1))
    places = {"to_source": identity, "grid_to_source": identity, "size": size}
    drawn = USERS.draw([3, 1], grid, NUMPY, (2,))
    make = array_source._batch_maker(recipe, [(0, 1)])
    image, y = make(flat, sizes, points, {"affine": identity, **places}, drawn)
    reduced = ReducedImage(flat.astype("float32"), **places)
    expected_image, expected = on_grid(
        reduced, sizes, identity, points, recipe, drawn, [(0, 1)], NUMPY
    )
    image, y = keras.tree.map_structure(keras.ops.convert_to_numpy, (image, y))
    assert image.shape == (2, *grid, 1)
    np.testing.assert_allclose(image, expected_image, rtol=0, atol=5e-4)
    np.testing.assert_allclose(y["points"], expected["points"], rtol=0, atol=5e-4)
    assert np.abs(y["points"] - points).max() > 1.0
