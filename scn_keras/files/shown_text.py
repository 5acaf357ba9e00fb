"""Names from files and folders in messages, tables, pages and pictures."""

import re

# Control characters, and those that change the direction of the text after them.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Spreadsheets evaluate cells that begin with these.
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def shown_text(text: str) -> str:
    r"""Returns a text that can be shown on one line and stored as UTF-8.

    Line breaks and other control characters are escaped as in Python, as are bytes of
    file names that are not UTF-8.

    Args:
        text: Str.

    Example:

    >>> print(shown_text("two\nlines"), shown_text("caf\udce9"))
    two\nlines caf\xe9
    """
    text = _INVISIBLE.sub(lambda match: repr(match[0])[1:-1], text)
    return _SURROGATE.sub(_byte, text)


def storable_text(text: str) -> str:
    r"""Returns a text of one or several lines that can be stored as UTF-8.

    Args:
        text: Str.

    Example:

    >>> print(storable_text("caf\udce9"))
    caf\xe9
    """
    return _SURROGATE.sub(_byte, text)


def csv_text(text: str) -> str:
    """Returns the text of a CSV cell that spreadsheets do not evaluate as a formula.

    A text that begins with `=`, `+`, `-`, `@`, a tab or a line break, and is no number,
    gets an apostrophe before it, as in spreadsheets. See `from_csv_text`.

    Args:
        text: Str.

    Example:

    >>> csv_text("=1+1"), csv_text("-1.5"), csv_text("sella")
    ("'=1+1", '-1.5', 'sella')
    """
    text = _SURROGATE.sub(_byte, text)
    if _FORMULA.match(text.lstrip("'")) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def from_csv_text(text: str) -> str:
    """Returns the text of a cell that `csv_text` has written.

    Args:
        text: Str.

    Example:

    >>> from_csv_text("'=1+1"), from_csv_text("'quoted'")
    ('=1+1', "'quoted'")
    """
    is_escaped = text.startswith("'") and _FORMULA.match(text.lstrip("'"))
    return text[1:] if is_escaped else text


def _byte(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Python stores byte 0xE9 of a file name as the character U+DCE9.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
