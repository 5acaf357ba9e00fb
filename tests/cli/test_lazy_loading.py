"""Help and usage errors in a fresh interpreter load no module that they do not need."""

import json
import os
import subprocess
import sys

import pytest

# The commands in the order of the help, and the modules that define them.
MODULES = {
    "adapt": "adapting",
    "calibrate": "evaluation",
    "compare": "evaluation",
    "crossval": "training",
    "datasets": "datasets",
    "demo": "demo",
    "draw": "drawing",
    "drift": "monitoring",
    "ensemble": "evaluation",
    "evaluate": "evaluation",
    "explain": "explaining",
    "export": "exporting",
    "networks": "networks",
    "predict": "predicting",
    "preset": "publishing",
    "presets": "listing",
    "recipes": "listing",
    "samples": "samples",
    "serve": "serving",
    "train": "training",
    "turn": "turning",
}
DATA_SET_COMMANDS = ["arrays", "check", "list", "prepare", "show"]

HEAVY = {
    *("tensorflow", "tensorflow_datasets", "keras", "jax", "torch", "numpy"),
    *("SimpleITK", "PIL", "matplotlib", "h5py", "rich"),
}

MAIN = """
import json, sys
from scn_keras.cli import main
try:
    main(sys.argv[2:], prog_name="scn-keras")
finally:
    with open(sys.argv[1], "w") as file:
        json.dump(sorted(sys.modules), file)
"""


@pytest.fixture
def fresh(tmp_path):
    """Runs the command line in a new process; returns it and its loaded modules."""

    def run(*arguments, **environment):
        path = tmp_path / "modules.json"
        process = subprocess.run(
            [sys.executable, "-c", MAIN, path, *arguments],
            capture_output=True,
            text=True,
            env={**environment_with_path(), "PYTHONWARNINGS": "error", **environment},
        )
        return process, set(json.loads(path.read_text()))

    return run


def environment_with_path():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def loaded_commands(modules):
    """Names of the command modules among loaded modules, which include no others."""
    assert not HEAVY & modules
    names = {name for name in modules if name.startswith("scn_keras.")}
    public = {name for name in names if not name.rpartition(".")[2].startswith("_")}
    commands = public - {"scn_keras.cli"}
    assert all(name.startswith("scn_keras.cli.") for name in commands), commands
    return {name.removeprefix("scn_keras.cli.") for name in commands}


def listed_commands(help_text):
    """The lines below "Commands:": names and one-line helps."""
    lines = help_text.partition("Commands:\n")[2].splitlines()
    return [line.split(maxsplit=1) for line in lines]


def test_the_help_lists_every_command_and_loads_nothing_heavy(fresh):
    process, modules = fresh("--help")
    assert process.returncode == 0, process.stderr
    listed = listed_commands(process.stdout)
    assert [name for name, _ in listed] == list(MODULES)
    assert ["train", "Train a model by a RECIPE, or resume a run."] in listed
    assert loaded_commands(modules) == set(MODULES.values())


def test_the_help_of_a_group_lists_its_commands(fresh):
    process, modules = fresh("datasets", "-h")
    assert process.returncode == 0, process.stderr
    assert [name for name, _ in listed_commands(process.stdout)] == DATA_SET_COMMANDS
    assert loaded_commands(modules) == {"datasets"}


def test_one_line_helps_are_not_cut_off_on_80_columns(fresh):
    for group in ([], ["datasets"]):
        process, _ = fresh(*group, "--help", COLUMNS="80")
        for name, text in listed_commands(process.stdout):
            assert text.endswith(".") and not text.endswith("..."), name


@pytest.mark.parametrize(
    "command, module",
    [
        *(([name], module) for name, module in MODULES.items()),
        *((["datasets", name], "datasets") for name in DATA_SET_COMMANDS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_help_of_a_command_loads_only_its_module(fresh, command, module):
    process, modules = fresh(*command, "--help")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"Usage: scn-keras {' '.join(command)} [OPTIONS]")
    assert loaded_commands(modules) == {module}


@pytest.mark.parametrize(
    "name, message",
    [
        ("trian", "No such command 'trian'. (Did you mean one of: 'train', 'turn'?)"),
        (
            "predit",
            "No such command 'predit'. (Did you mean one of: 'predict', 'preset', "
            "'presets'?)",
        ),
        ("exprt", "No such command 'exprt'. Did you mean 'export'?"),
        ("xyz", "No such command 'xyz'."),
    ],
)
def test_a_mistyped_command_gets_similar_names(fresh, name, message):
    process, modules = fresh(name, "--out", "run")
    assert process.returncode == 2
    assert process.stderr.startswith("Usage: scn-keras [OPTIONS] COMMAND [ARGS]...\n")
    assert process.stderr.endswith(f"\n\nError: {message}\n")
    assert loaded_commands(modules) == set()


def test_an_unknown_option_is_a_usage_error(fresh):
    process, modules = fresh("--recipe")
    assert process.returncode == 2
    assert "No such option" in process.stderr and "--recipe" in process.stderr
    assert loaded_commands(modules) == set()


def test_an_unknown_option_of_a_command_loads_nothing_heavy(fresh):
    process, modules = fresh("train", "hands", "--stps", "3")
    assert process.returncode == 2
    assert "No such option" in process.stderr and "--steps" in process.stderr
    assert loaded_commands(modules) == {"training"}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "hand_fsat"], ["hand_fsat", "hand_fast", "scn-keras recipes"]),
        (["crossval", "xyz"], ["'xyz'", "scn-keras recipes"]),
        (["recipes", "volum"], ["volume"]),
        (["predict", "synthetic_hnad", os.devnull], ["synthetic_hand", "presets"]),
    ],
    ids=lambda value: value[0],
)
def test_a_mistyped_name_is_answered_without_tensorflow(fresh, arguments, words):
    process, modules = fresh(*arguments)
    assert process.returncode == 2
    assert all(word in process.stderr for word in words), process.stderr
    assert not HEAVY & modules


def test_lists_say_what_there_is_and_load_nothing_heavy(fresh):
    for arguments, words in (
        (["recipes"], ["cephalogram_fast ", "two CPU cores in 20 minutes."]),
        (["recipes", "hand_few"], ["scn-keras train hand_few"]),
        (["presets"], ["synthetic_hand ", "1.58 MB. 0.36 mm on 50 images of test."]),
        (["presets"], ["Apache License 2.0"]),
        (["datasets", "list"], ["cephalogram ", "400 films", "research only"]),
    ):
        process, modules = fresh(*arguments)
        assert process.returncode == 0, process.stderr
        text = " ".join(process.stdout.split())
        assert all(word in text + " " for word in words), text
        assert not HEAVY & modules


def test_a_shell_completes_the_names_of_commands(fresh):
    process, modules = fresh(
        _SCN_KERAS_COMPLETE="bash_complete",
        COMP_WORDS="scn-keras eva",
        COMP_CWORD="1",
    )
    assert process.stdout == "plain,evaluate\n", process.stderr
    assert loaded_commands(modules) == {"evaluation"}


def test_the_package_runs_as_a_module(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "scn_keras.cli", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment_with_path(),
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Usage: python -m scn_keras.cli [OPTIONS] COMMAND")
    assert [name for name, _ in listed_commands(process.stdout)] == list(MODULES)
