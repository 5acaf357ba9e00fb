"""Docstrings of the package, which are Markdown with Keras's sections, as MyST."""

import re
import textwrap

_SECTION = re.compile(
    r"^(Args|Call arguments|Arguments|Attributes|Input shape|Output shape|Output|"
    r"Returns|Yields|Raises|Examples?):$"
)
# Sections whose entries are `name: description`.
_LISTS = ("Args", "Call arguments", "Arguments", "Attributes", "Raises")
_ENTRY = re.compile(r"^(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*):(?: |$)")
# A page of the documentation, by its path in the repository.
_PAGE = re.compile(r"`?\bdocs/([\w/]+)\.md\b`?")
_REFERENCE = re.compile(r"^(References?):\s", re.M)


def to_myst(docstring: str) -> str:
    """Returns a docstring as MyST Markdown.

    Sections become bold headings with lists, and examples of the interpreter become
    blocks of code.
    """
    output: list[str] = []
    lines = docstring.expandtabs().splitlines()
    index = 0
    while index < len(lines):
        section = _SECTION.match(lines[index])
        body, end = _indented(lines, index + 1) if section else ([], index + 1)
        if section and body:
            output += ["", f"**{section[1]}**", ""]
            is_list = section[1] in _LISTS
            output += _entries(body) if is_list else _with_code("\n".join(body))
            output.append("")
        else:
            # The examples of Keras's form are not indented.
            output.append(f"**{section[1]}**" if section else lines[index])
            end = index + 1
        index = end
    text = "\n".join(_with_code("\n".join(output)))
    text = _PAGE.sub(r"{doc}`/\1`", text)
    return _REFERENCE.sub(r"**\1** ", text).strip() + "\n"


def first_sentence(docstring: str) -> str:
    """Returns the summary line of a docstring."""
    return " ".join(docstring.strip().split("\n\n")[0].split())


def _indented(lines: list[str], start: int) -> tuple[list[str], int]:
    """Returns the indented lines from `start` on, dedented, and the line after them."""
    end = start
    while end < len(lines) and (not lines[end] or lines[end].startswith("    ")):
        end += 1
    return textwrap.dedent("\n".join(lines[start:end])).strip().splitlines(), end


def _entries(lines: list[str]) -> list[str]:
    output = []
    for line in lines:
        entry = _ENTRY.match(line)
        if entry:
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            rest = line[entry.end() :]
            output.append(f"- {names}: {rest}".rstrip())
        else:
            output.append(f"  {line.strip()}" if line else "")
    return output


def _with_code(text: str) -> list[str]:
    """Puts the examples of the interpreter into blocks of code."""
    output: list[str] = []
    is_code = is_fence = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            is_fence = not is_fence
        if not is_fence:
            if line.startswith(">>> ") and not is_code:
                output += ["```pycon", line]
                is_code = True
                continue
            if is_code and not line.strip():
                output.append("```")
                is_code = False
        output.append(line)
    return [*output, "```"] if is_code else output
