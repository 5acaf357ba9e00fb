"""A tiny data set and a tiny recipe, trained in a second or two."""

import dataclasses

import pytest

from scn_keras.inference import ImageToGrid
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.fit import fit
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network, Target
from tests.training.dots import Dots


@pytest.fixture(scope="session")
def dots_dir(tmp_path_factory):
    """Where the data set of dots is prepared."""
    folder = tmp_path_factory.mktemp("data")
    Dots(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def dots(dots_dir):
    """The folder of the data set of dots, which recipes name `"dots"`."""
    return dots_dir


@pytest.fixture(scope="session")
def recipe():
    """Six steps, with everything in it that could differ after an interruption."""
    return Recipe(
        name="tiny",
        dataset="dots",
        validation=0.2,
        image_to_grid=ImageToGrid(grid=(48, 40)),
        network=Network(
            filters=4, levels=2, dropout=0.3, spatial_kernel_size=3, spatial_factor=8
        ),
        target=Target(sigma=2.0, learnable=True),
        augmentation=Augmentation(),
        batch_size=2,
        steps=6,
        steps_per_epoch=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def finished(dots_dir, recipe, tmp_path_factory):
    """The run of the recipe that nothing interrupted."""
    return fit(recipe, tmp_path_factory.mktemp("runs") / "finished", dots_dir)


@pytest.fixture(scope="session")
def finished_in_stages(dots_dir, recipe, tmp_path_factory):
    """A run of the recipe from coarse to fine, of four steps each."""
    steps = {"steps": 4, "steps_per_epoch": 2}
    coarse = dataclasses.replace(
        recipe,
        image_to_grid=dataclasses.replace(recipe.image_to_grid, grid=(24, 24)),
        **steps,
    )
    staged = dataclasses.replace(
        recipe,
        name="staged",
        image_to_grid=dataclasses.replace(
            recipe.image_to_grid, grid_spacing=(0.6, 0.6)
        ),
        coarse=coarse,
        **steps,
    )
    return fit(staged, tmp_path_factory.mktemp("runs") / "staged", dots_dir)
