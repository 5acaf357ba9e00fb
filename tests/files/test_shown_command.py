"""Commands in messages can be pasted, also with blanks in paths."""

import re
import shlex

import pytest

from scn_keras.datasets import builder_class
from scn_keras.datasets._description import prepare_command
from scn_keras.files.shown_command import shown_command
from scn_keras.training import load_recipe
from scn_keras.training.evaluation.points_table import evaluate_command, read_points
from scn_keras.training.input.prepared_sets import prepared_builder
from scn_keras.training.run import Run
from tests.test_printed_commands import check


def words(text):
    (command,) = re.findall("`scn-keras (.*?)`", text)
    return shlex.split(command)


def test_paths_are_quoted():
    text = shown_command("evaluate", "runs/my knees", "--split", "a b")
    assert words(text) == ["evaluate", "runs/my knees", "--split", "a b"]


@pytest.fixture
def run(tmp_path):
    recipe = load_recipe("radiograph")
    schema = builder_class("hand_xray").SCHEMA
    return Run.create(tmp_path / "my run", recipe, schema)


def test_results_that_do_not_exist(run):
    with pytest.raises(FileNotFoundError) as caught:
        read_points(run, "fold2")
    assert words(str(caught.value)) == [
        *("evaluate", str(run.path), "--split", "fold2")
    ]
    # Results on a folder are no split of the data set.
    assert words(evaluate_command(run, "folder_new"))[2:] == ["--folder", "FOLDER"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("landmark_folder/knees", ["--manual-dir", "FOLDER"]),
        ("synthetic_hand", []),
    ],
)
def test_data_sets_that_are_not_prepared(tmp_path, name, options):
    with pytest.raises(FileNotFoundError) as caught:
        prepared_builder(name, tmp_path)
    folder = ["--data-dir", str(tmp_path)]
    assert words(str(caught.value)) == ["datasets", "prepare", name, *folder, *options]
    builder = builder_class(name.split("/")[0])
    assert words(prepare_command(builder, name, "--overwrite"))[3] == "--overwrite"
    check(" ".join(words(prepare_command(builder, name, "--overwrite"))))
