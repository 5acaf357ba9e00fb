"""A tiny data set and a tiny recipe, trained in a second or two."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from scn_keras.datasets.landmark_builder import LandmarkBuilder
from scn_keras.landmark_schema import LandmarkSchema
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.fit import fit
from scn_keras.training.input import prepared_sets as data
from scn_keras.training.recipe import Network, Recipe, Target


class Dots(LandmarkBuilder, skip_registration=True):
    """Three bright dots a film, two films a patient; film 3 lacks the second dot."""

    VERSION = tfds.core.Version("1.0.0")
    SCHEMA = LandmarkSchema(("large", "middle", "small"))
    FILMS = {"train": 10, "test": 3}

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.FILMS}

    def _generate_examples(self, split):
        random = np.random.default_rng(len(split))
        y, x = np.mgrid[:60, :50]
        for n in range(self.FILMS[split]):
            points = [[12, 15], [36, 22], [22, 44]] + random.uniform(-5, 5, (3, 2))
            image = random.uniform(0, 20, x.shape)
            for (px, py), size in zip(points, (5, 3, 2), strict=True):
                image += 200 * np.exp(
                    -((x - px) ** 2 + (y - py) ** 2) / (2.0 * size**2)
                )
            if split == "train" and n == 3:
                points[1] = np.nan
            yield (
                f"{n}",
                self.sample(
                    f"{split}{n}",
                    np.clip(image, 0, 255).astype(np.uint8),
                    {"points": points},
                    np.diag([0.5, 0.4, 1.0]),
                    group=f"{split} patient {n // 2}",
                ),
            )


class Interruption(Exception):
    """What the power cut is here."""


def interrupt(monkeypatch, owner, name, number):
    """Lets a method work `number` times and then interrupts within it, at its end."""
    original, calls = getattr(owner, name), []

    def method(*args, **kwargs):
        result = original(*args, **kwargs)
        calls.append(name)
        if len(calls) == number:
            raise Interruption
        return result

    monkeypatch.setattr(owner, name, method)


@pytest.fixture(scope="session")
def dots_dir(tmp_path_factory):
    """Where the data set of dots is prepared."""
    folder = tmp_path_factory.mktemp("data")
    Dots(data_dir=folder).download_and_prepare()
    return folder


def _name_dots(monkeypatch):
    known = data.builder_class
    monkeypatch.setattr(
        data, "builder_class", lambda name: Dots if name == "dots" else known(name)
    )


@pytest.fixture
def dots(dots_dir, monkeypatch):
    """The folder of the data set of dots, which recipes may then name `"dots"`."""
    _name_dots(monkeypatch)
    return dots_dir


@pytest.fixture(scope="session")
def recipe():
    """Six steps, with everything in it that could differ after an interruption."""
    return Recipe(
        name="tiny",
        dataset="dots",
        validation=0.2,
        grid=(48, 40),
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
    with pytest.MonkeyPatch.context() as patch:
        _name_dots(patch)
        return fit(recipe, tmp_path_factory.mktemp("runs") / "finished", dots_dir)


@pytest.fixture(scope="session")
def finished_in_stages(dots_dir, recipe, tmp_path_factory):
    """A run of the recipe from coarse to fine, of four steps each."""
    steps = {"steps": 4, "steps_per_epoch": 2}
    coarse = dataclasses.replace(recipe, grid=(24, 24), **steps)
    staged = dataclasses.replace(
        recipe, name="staged", grid_spacing=(0.6, 0.6), coarse=coarse, **steps
    )
    with pytest.MonkeyPatch.context() as patch:
        _name_dots(patch)
        return fit(staged, tmp_path_factory.mktemp("runs") / "staged", dots_dir)
