"""The pages of the documentation, and the blocks of code in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^\n`]*)\n"
    r"(?P<code>.*?)^(?P=indent)(?P=fence) *$"
    r"|<!-- run first:\n(?P<hidden>.*?)-->",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A block of code with its language."""

    language: str
    code: str


def pages() -> list[Path]:
    """Returns the Markdown of the site and of the repository's first pages.

    Skips the module where the documents are not there, as with an installed package.
    """
    if not (DOCS / "conf.py").is_file():
        pytest.skip(
            "The documents are not part of an installed package.",
            allow_module_level=True,
        )
    return [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def blocks(text: str) -> Iterator[Block]:
    """Yields the blocks of code of a page.

    The code of a comment `<!-- run first: CODE -->` is not shown on the page, and is
    run.
    """
    for match in _FENCE.finditer(text):
        if match["hidden"] is not None:
            yield Block("python", match["hidden"])
        else:
            indent = match["indent"]
            lines = match["code"].splitlines(keepends=True)
            code = "".join(line.removeprefix(indent) for line in lines)
            yield Block(match["language"].strip(), code)
