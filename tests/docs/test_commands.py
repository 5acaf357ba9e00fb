"""Commands of pages besides those of tests/test_printed_commands.py, and settings."""

import configparser
import re
import shlex

import pytest

from scn_keras.cli._catalog import recipe_files
from scn_keras.training.recipes import load_recipe
from tests.docs.pages import REPOSITORY, blocks, name_of, pages

PAGES = pages()
MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
EXTRAS = SETUP["options.extras_require"]
# A part of one's own, which is not importable here.
OWN = re.compile(r"\bmine\b|own_parts|[A-Z]{3}|\.\.\.")


def command_lines(page):
    """The lines of the blocks of commands of a page, continuations joined."""
    for block in blocks(page.read_text("utf-8")):
        if block.language in ("", "bash", "text"):
            yield from re.sub(r"\\\n\s*", " ", block.code).splitlines()


def benchmark_problem(line):
    """What is wrong with `python -m benchmarks.NAME`, or None."""
    name, *options = re.findall(r"benchmarks\.(\w+)| (--[\w-]+)", line)
    file = REPOSITORY / "benchmarks" / f"{name[0]}.py"
    if not file.is_file():
        return f"no benchmark {name[0]}"
    source = "".join(
        path.read_text("utf-8") for path in (file, REPOSITORY / "benchmarks/_runs.py")
    )
    missing = [option for _, option in options if f'"{option}"' not in source]
    return f"no option {missing[0]}" if missing else None


def problems(line):
    """What does not exist of the programs, targets and extras that a line names."""
    if match := re.match(r"make ([a-z-]+)", line):
        if not re.search(rf"^{match[1]}:", MAKEFILE, re.MULTILINE):
            yield f"no target {match[1]}"
    if "python -m benchmarks." in line and (problem := benchmark_problem(line)):
        yield problem
    for extras in re.findall(r"pip install .*?\[([\w,]+)\]['\"]?(?:\s|$)", line):
        if "scn-keras" in line or "'.[" in line:
            yield from (
                f"no extra {extra}"
                for extra in extras.split(",")
                if extra not in EXTRAS
            )


def settings_problem(line):
    """The message on wrong settings (`--set`) of `scn-keras train RECIPE`, or None."""
    match = re.match(r"(?:\w+=\S+ )*scn-keras (?:train|crossval) (\w+)\b(?!\.py)", line)
    if match is None or match[1] not in recipe_files() or OWN.search(line):
        return None
    words = shlex.split(line, comments=True)
    pairs = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    try:
        load_recipe(match[1]).override(pairs)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_programs_targets_and_extras_exist(page):
    wrong = [
        f"{line}: {problem}"
        for line in command_lines(page)
        for problem in problems(line)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_are_accepted(page):
    wrong = {line: settings_problem(line) for line in command_lines(page)}
    assert {line: text for line, text in wrong.items() if text} == {}


def test_mistakes_are_found():
    assert [*problems("make sight")] == ["no target sight"]
    assert [*problems("python -m benchmarks.decoder")] == ["no benchmark decoder"]
    assert [*problems("python -m benchmarks.decoders --ron x")] == ["no option --ron"]
    assert [*problems("pip install 'scn-keras[serf]'")] == ["no extra serf"]
    assert "filterz" in settings_problem(
        "scn-keras train hand_few --set network.filterz=1"
    )
    assert settings_problem("scn-keras train hand_few --set network.filters=8") is None
