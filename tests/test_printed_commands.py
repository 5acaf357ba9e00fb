"""Commands that documents, docstrings and messages print exist, with their options.

Those that commands print at their end are run in tests/cli/test_printed_sequence.py,
tests/training/test_train_command.py and other tests of tests/cli.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

import scn_keras
from scn_keras.cli import main
from scn_keras.cli._catalog import presets, recipe_files

PACKAGE = Path(scn_keras.__file__).parent
REPOSITORY = PACKAGE.parent
PLACEHOLDER = re.compile(r"[A-Z_]{2,}|\.\.\.|{.*|\.")


def documents():
    pages = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
    folders = ("cli", "datasets", "files", "inference", "training", "saved_models")
    code = [file for name in folders for file in (PACKAGE / name).rglob("*.py")]
    return [*pages, *code, *PACKAGE.rglob("README.md")]


def commands(text):
    """Yields the arguments of the commands in a text.

    They are lines of code blocks and of docstrings, with their continuations, and what
    stands between backquotes.
    """
    text = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^[ >$]*(?:\w+=\S+ )*scn-keras (\w.*)$", text, re.M):
        yield re.split(r"\s{2,}[^-\s]|\s#", line)[0]
    one_line = re.sub(r"\s*\n[ #]*", " ", text)
    yield from re.findall(r"`scn-keras (\w[^`]*)`", one_line)


def command_of(words):
    """Returns the command of some words, and its arguments."""
    context = click.Context(main)
    command = main.get_command(context, words[0])
    assert command is not None, f"no such command: {words[0]}"
    if isinstance(command, click.Group) and len(words) > 1:
        if not PLACEHOLDER.fullmatch(words[1]):
            inner = command.get_command(context, words[1])
            assert inner is not None, f"no such command: {' '.join(words[:2])}"
            return inner, words[2:]
    return command, words[1:]


def check(line):
    """Raises an AssertionError if a command, an option or a name does not exist."""
    words = [word.strip("[](),;") for word in shlex.split(line)]
    command, arguments = command_of(words)
    known = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in arguments:
        if word.startswith("--"):
            name = word.partition("=")[0]
            assert name in {*known, "--help"}, f"{command.name} has no option {name}"
    plain = [word for word in arguments if not word.startswith("-")]
    if command.name in ("train", "crossval") and arguments[:1] == plain[:1] != []:
        assert is_known(plain[0], recipe_files()), f"no such recipe: {plain[0]}"
    if command.name == "predict" and arguments[:1] == plain[:1] != []:
        assert is_known(plain[0], presets()), f"no such model: {plain[0]}"


def is_known(name, names):
    is_path = "/" in name or "." in name or ":" in name
    return is_path or name in names or PLACEHOLDER.match(name)


def test_all_commands_that_are_printed_exist():
    if not (REPOSITORY / "README.md").is_file():
        pytest.skip("The documents are not part of an installed package.")
    wrong, count = [], 0
    for file in documents():
        for line in commands(file.read_text("utf-8")):
            count += 1
            try:
                check(line)
            except (AssertionError, ValueError) as error:
                wrong.append(f"{file.relative_to(REPOSITORY)}: {line}: {error}")
    assert not wrong, "\n".join(wrong)
    assert count > 150


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian hand_fast", "no such command"),
        ("train hand_fast --stps 3", "no option --stps"),
        ("train hands_fast", "no such recipe"),
        ("datasets store x", "no such command: datasets store"),
        ("predict hnad x.png", "no such model"),
    ],
)
def test_wrong_commands_are_found(line, message):
    with pytest.raises(AssertionError, match=message):
        check(line)
    (found,) = commands(f"Text.\n\n    scn-keras {line}\n")
    assert found == line
