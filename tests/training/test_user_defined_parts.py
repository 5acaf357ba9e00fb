"""The code of the pages on user-defined parts, docs/guides/extending."""

import pathlib
import re
import sys

import numpy as np
import pytest

from scn_keras.array_api import NUMPY
from scn_keras.training import Callback, Method
from scn_keras.training.augmentation import Augmentation
from scn_keras.training.build import make_callbacks
from scn_keras.training.recipes import load_recipe

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "extending"

pytestmark = pytest.mark.skipif(
    not PAGES.is_dir(), reason="The documentation is not part of the wheel."
)


@pytest.fixture
def block(tmp_path, monkeypatch):
    """Executes the block of code of a page with a word, as a module."""

    def execute(page, word):
        text = (PAGES / page).read_text("utf-8")
        blocks = re.findall("```python\n(.*?)```", text, re.S)
        (code,) = (text for text in blocks if word in text)
        (tmp_path / "block_of_page.py").write_text(code, "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return __import__("block_of_page")

    yield execute
    sys.modules.pop("block_of_page", None)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_transform(block, batch):
    darken = block("transform.md", "def darken").darken
    image = np.zeros((*batch, 4, 6), "float32")
    parameters = np.ones((*batch, 1), "float32")
    np.testing.assert_allclose(darken(image, parameters, NUMPY), image - 0.2)
    named = {"name": darken, "arguments": {"strength": 0.4}}
    (transform,) = Augmentation(transforms=[named]).transforms
    assert transform.checked() == {"strength": 0.4}


def test_the_callbacks(block):
    (callback,) = make_callbacks(block("callback.md", "EarlyStopping").recipe)
    assert callback.patience == 5


def test_callbacks_on_the_command_line():
    text = (PAGES / "callback.md").read_text("utf-8")
    (setting,) = re.findall('--set "(callbacks=.*)"', text)
    (callback,) = load_recipe("synthetic_hand").override([setting]).callbacks
    assert callback == Callback("EarlyStopping", {"patience": 5})


def test_the_method(block):
    module = block("method.md", "class MeanPoints")
    assert issubclass(module.MeanPoints, Method)
    model = module.Constant(np.zeros((3, 2), "float32"))
    found = model.localizer.predict_on_batch(np.zeros((4, 8, 8, 1), "float32"))
    assert found["points"].shape == (4, 3, 2)
    assert found["score"].shape == (4, 3)
    assert found["covariance"].shape == (4, 3, 2, 2)
