"""The examples of docs/guides that train are run with small recipes."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest

from scn_keras.inference.image_to_grid import ImageToGrid
from scn_keras.training.fit import fit
from scn_keras.training.recipe import Recipe
from scn_keras.training.recipe_settings import Network
from scn_keras.training.run import Run
from tests.docs.pages import DOCS, blocks

PAGES = DOCS / "guides" / "extending"
if not PAGES.is_dir():
    pytest.skip("The documents are not there.", allow_module_level=True)

SMALL = Network(filters=4, levels=3, spatial_kernel_size=3, spatial_factor=8)


@pytest.fixture
def module_of(tmp_path, monkeypatch):
    """Imports the code of a page as a module."""

    def module_of(page):
        text = (PAGES / f"{page}.md").read_text("utf-8")
        code = [b.code for b in blocks(text) if b.language == "python"]
        (tmp_path / f"{page}_page.py").write_text("\n".join(code), "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, f"{page}_page", raising=False)
        return importlib.import_module(f"{page}_page")

    monkeypatch.chdir(tmp_path)
    yield module_of
    for page in PAGES.glob("*.md"):
        sys.modules.pop(f"{page.stem}_page", None)


def small(recipe, **changes):
    """A recipe with the data and the size of a test."""
    return dataclasses.replace(
        recipe,
        **{
            "dataset": "tiny_hands",
            "validation": 0.34,
            "image_to_grid": ImageToGrid(grid=(48, 32)),
            "network": SMALL,
            "batch_size": 2,
            "steps": 2,
            "steps_per_epoch": 2,
            **changes,
        },
    )


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("network", "recipe"),
        ("loss", "recipe"),
        ("optimizer", "by_name"),
        ("optimizer", "by_object"),
        ("transform", "recipe"),
        ("decoder", "recipe"),
    ],
)
def test_the_recipe_of_a_page_trains(page, name, module_of, tiny_data, tmp_path):
    recipe = getattr(module_of(page), name)
    kept = {"network": recipe.network} if page == "network" else {}
    run = fit(small(recipe, **kept), tmp_path / "run", tiny_data)
    model = Run(run.path).load_model()
    images = np.zeros((1, 48, 32, 1), "float32")
    points = model.localizer.predict(images, verbose=0)["points"]
    assert points.shape == (1, 37, 2) and np.isfinite(points).all()


def test_the_method_of_the_page_trains(module_of, tiny_data, tmp_path):
    module = module_of("method")
    recipe = small(
        Recipe(name="mean", dataset="tiny_hands"),
        method=f"{module.__name__}:MeanPoints",
    )
    run = fit(recipe, tmp_path / "run", tiny_data)
    images = np.zeros((2, 48, 32, 1), "float32")
    points = Run(run.path).load_model().localizer.predict_on_batch(images)["points"]
    assert points.shape == (2, 37, 2) and np.isfinite(points).all()


def test_the_data_set_of_the_page_is_prepared(module_of, tmp_path):
    from scn_keras.datasets import prepare

    module = module_of("data_set")
    builder = prepare(module.Crosses, data_dir=tmp_path / "data")
    assert builder.info.splits["train"].num_examples == 24
