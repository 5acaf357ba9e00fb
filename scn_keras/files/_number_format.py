"""Numbers as spreadsheets of different countries write them."""

import re
from collections.abc import Callable, Iterable

_GROUPS = re.compile(r"[-+]?\d{1,3}(?:[ '\u2019\u00a0\u202f]\d{3})+(?:[.,]\d*)?")
_ENGLISH = re.compile(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d*)?")
_CONTINENTAL = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})*(?:,\d*)?")
# A thousand, or a number with three decimals.
_AMBIGUOUS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")


def number_format(
    values: Iterable[tuple[int, str]], delimiter: str, path: object
) -> Callable[[str], str]:
    """Returns a function that writes the numbers of a table with a decimal point.

    All numbers of a table have one format, which is found from those that are
    unambiguous: 12,5 and 1.234,5 have a decimal comma; 1,234.5 has thousands
    separators.

    Args:
        values: Iterable of pairs, the line and the text of each number.
        delimiter: Str, the delimiter of columns, `""` for cells of a workbook. Tables
            with semicolons have decimal commas.
        path: Path, the file, for messages.

    Raises:
        ValueError: If numbers are in several formats or ambiguous.
    """
    english: tuple[int, str] | None = None
    continental: tuple[int, str] | None = None
    ambiguous: tuple[int, str] | None = None
    for line, text in values:
        text = _plain(text)
        if "," not in text:
            continue
        if _AMBIGUOUS.fullmatch(text):
            ambiguous = ambiguous or (line, text)
        elif text.count(",") > 1 or -1 < text.find(",") < text.find("."):
            english = english or (line, text)
        else:
            continental = continental or (line, text)
    if english and continental:
        raise ValueError(
            f"{path}, line {continental[0]}: all numbers must be in one format, with a "
            "decimal point or a decimal comma. Received: "
            f"{continental[1]!r}, and {english[1]!r} on line {english[0]}"
        )
    if ambiguous and delimiter != ";" and not english and not continental:
        raise ValueError(
            f"{path}, line {ambiguous[0]}: the comma may be a decimal comma or "
            "separate thousands. Write numbers with a decimal point and without "
            f"thousands separators. Received: {ambiguous[1]!r}"
        )
    if english:
        return _english
    if not continental and not ambiguous:
        return _plain
    # Numbers in the cells of a workbook have a decimal point, texts may have a comma.
    return _continental if delimiter else lambda t: _continental(t) if "," in t else t


def _plain(text: str) -> str:
    text = text.strip().replace("\u2212", "-")  # the minus sign of typography
    return (
        re.sub(r"[ '\u2019\u00a0\u202f]", "", text) if _GROUPS.fullmatch(text) else text
    )


def _english(text: str) -> str:
    text = _plain(text)
    return text.replace(",", "") if _ENGLISH.fullmatch(text) else text


def _continental(text: str) -> str:
    text = _plain(text)
    if _CONTINENTAL.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    # Not a number if a decimal point is among decimal commas.
    return text.replace(",", ".") if "." not in text else f"{text} (decimal point)"
