import os
import sys

import pytest

from scn_keras.cli._next_command import next_command
from scn_keras.training.recipes import load_recipe

RECIPE = """
import keras
from scn_keras.training import Recipe

class Quiet(keras.callbacks.Callback):
    pass

def recipe():
    return Recipe(name="own", dataset="synthetic_hand", callbacks=(Quiet,))
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe with its file in a folder below the working directory."""
    (tmp_path / "my things").mkdir()
    file = tmp_path / "my things" / "next_command_parts.py"
    file.write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    yield load_recipe(str(file))
    del sys.modules["next_command_parts"]


def test_the_folder_of_the_recipe_file_is_given(recipe, tmp_path, monkeypatch):
    expected = "Next: PYTHONPATH='my things' scn-keras evaluate run"
    assert next_command(["evaluate", "run"], recipe) == expected
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    expected = f"PYTHONPATH='my things{os.pathsep}elsewhere' scn-keras"
    assert expected in next_command(["evaluate"], recipe)
    # A variable that was set for one command is given again.
    monkeypatch.setenv("PYTHONPATH", "my things")
    monkeypatch.syspath_prepend(tmp_path / "my things")
    assert "PYTHONPATH='my things' scn-keras" in next_command(["evaluate"], recipe)


def test_a_module_that_is_found_needs_no_folder(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "my things")
    assert next_command(["evaluate"], recipe) == "Next: scn-keras evaluate"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "my things")
    assert next_command(["evaluate"], recipe) == "Next: scn-keras evaluate"


def test_parts_of_the_package_need_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("synthetic_hand").override(["loss='keras.losses:Huber'"])
    assert next_command(["evaluate"], recipe) == "Next: scn-keras evaluate"


def test_words_are_quoted_for_the_shell_and_the_data_are_named():
    recipe = load_recipe("synthetic_hand")
    line = next_command(["evaluate", "my run"], recipe, "its data")
    assert line == "Next: scn-keras evaluate 'my run' --data-dir 'its data'"
