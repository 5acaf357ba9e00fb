"""The command line as a user calls it."""

import pytest

from scn_keras import __version__

COMMANDS = [
    *([name] for name in ("train", "evaluate", "predict", "export", "preset", "demo")),
    ["serve"],
    ["datasets"],
    ["datasets", "check"],
    ["datasets", "prepare"],
    ["datasets", "show"],
    ["datasets", "list"],
    [],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(call, command):
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    listed = result.output.partition("Commands:")[2].splitlines()[1:]
    for line in listed:  # each subcommand has a line that says what it does
        assert len(line.split()) > 3, line


def test_version(call):
    assert __version__ in call("--version").output


def test_data_sets_are_listed(call):
    lines = call("datasets", "list").output.splitlines()
    names = [line.split()[0] for line in lines if line[:1].isalpha()]
    assert names == [
        *("cephalogram", "hand_xray", "landmark_folder"),
        *("synthetic_hand", "synthetic_volume"),
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["datasets", "prepare", "knees"], ["knees", "cephalogram"]),
        (["datasets", "prepare", "my_parts.py"], ["my_parts:Class", "'my_parts.py'"]),
        (["datasets", "prepare", "mine/my_parts.py"], ["my_parts:Class", "mine/my_"]),
        (["train", "synthetic_hand", "--set", "stps=3"], ["stps", "steps"]),
        (["train", "synthetic_hand", "--set", "steps=many"], ["steps", "int"]),
        (["evaluate", "no_such_run"], ["no_such_run", "recipe.json"]),
        (["export", "no_such_run", "models"], ["no_such_run", "recipe.json"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_gets_a_sentence_and_exit_code_1(
    call, arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_a_set_that_is_not_prepared_says_how(call, tmp_path):
    result = call("train", "cephalogram_fast", "--data-dir", tmp_path, "--out", "run")
    assert result.exit_code == 1
    assert "scn-keras datasets prepare cephalogram" in result.output
    assert "WARNING" not in result.output
