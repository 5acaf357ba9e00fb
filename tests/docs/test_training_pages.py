"""The Python of pages that train runs as printed, with small recipes and data."""

import importlib
import sys
from pathlib import Path

import pytest

from scn_keras.training.recipes import load_recipe
from scn_keras.training.run import Run
from tests.data_dir import use_data_dir
from tests.docs.pages import DOCS, blocks
from tests.docs.test_extending_pages import small


@pytest.fixture
def run_page(tmp_path, tiny_data, monkeypatch):
    """Runs the blocks of a page of the guides in an empty folder."""
    module = importlib.import_module("scn_keras.training.fit")

    def open_small(recipe, *args, source=module.open_source):
        return source(small(recipe), *args)

    def fit_small(recipe, path, fit=module.fit, **options):
        return fit(small(recipe), path, **options)

    monkeypatch.chdir(tmp_path)
    use_data_dir(monkeypatch, tiny_data)
    monkeypatch.setattr(module, "fit", fit_small)
    monkeypatch.setattr(module, "open_source", open_small)
    monkeypatch.syspath_prepend(tmp_path)

    def run_page(page):
        text = (DOCS / "guides" / page).read_text("utf-8")
        code = "\n".join(b.code for b in blocks(text) if b.language == "python")
        (tmp_path / "code_of_page.py").write_text(code, "utf-8")
        monkeypatch.delitem(sys.modules, "code_of_page", raising=False)
        return importlib.import_module("code_of_page")

    yield run_page
    sys.modules.pop("code_of_page", None)


def test_first_model(run_page):
    from scn_keras.datasets.synthetic_hand.sample_files import write_sample_files

    write_sample_files(Path("samples"), 1)
    page = run_page("first_model.md")
    (prediction,) = page.predictions
    assert prediction.points_px.shape == (37, 2)
    assert page.problems == []
    assert page.results[0]["protocol"]["split"] == "test"


def test_jax(run_page, tiny_data):
    from scn_keras.training.input.prepare_arrays import prepare_arrays

    prepare_arrays(small(load_recipe("synthetic_hand")), "hands", tiny_data)
    assert run_page("jax.md").run.model_path.is_file()


def test_seeing(run_page):
    page = run_page("seeing.md")
    assert page.run.path == Path("runs/hands")
    assert Path("film.gif").read_bytes().startswith(b"GIF8")


def test_callback(run_page, capsys):
    page = run_page("extending/callback.md")
    assert "Epoch 1: loss " in capsys.readouterr().out
    assert Run("runs/hand_printed").model_path.is_file()
    assert page.recipe.callbacks[0].name == "EarlyStopping"
