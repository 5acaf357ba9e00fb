"""Numbers as spreadsheets of different countries write them."""

import re
from collections.abc import Callable, Iterable

_GROUPS = re.compile(r"[-+]?\d{1,3}(?:[ '\u2019\u00a0\u202f]\d{3})+(?:[.,]\d*)?")
_ENGLISH = re.compile(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d*)?")
_CONTINENTAL = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})*(?:,\d*)?")
# A thousand, or a number with three decimals.
_AMBIGUOUS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_POINT = re.compile(r"[-+]?\d*\.\d*")

_DECIMAL_POINT = " (a decimal point; other numbers have a decimal comma)"
_DECIMAL_COMMA = " (a decimal comma; other numbers have a decimal point)"
_UNCLEAR = (
    " (the comma may be a decimal comma or separate thousands; write a decimal point)"
)


def number_format(values: Iterable[str], delimiter: str) -> Callable[[str], str]:
    """Returns a function that writes the numbers of a table with a decimal point.

    All numbers of a table have one format, which is that of most of the numbers that
    are unambiguous: 12,5 and 1.234,5 have a decimal comma; 12.5 and 1,234.5 have a
    decimal point. The function adds a remark to a number in another format and to one
    that is ambiguous, which makes it no number.

    Args:
        values: Iterable of str, the text of each number.
        delimiter: Str, the delimiter of columns, `""` for cells of a workbook. Tables
            with semicolons have decimal commas. A number in a cell of a workbook has a
            decimal point, so that only texts with a comma count there.
    """
    points = thousands = commas = ambiguous = 0
    for text in values:
        text = _plain(text)
        if "," not in text:
            points += bool(_POINT.fullmatch(text))
        elif _AMBIGUOUS.fullmatch(text):
            ambiguous += 1
        elif text.count(",") > 1 or -1 < text.find(",") < text.find("."):
            thousands += 1
        else:
            commas += 1
    if not delimiter:
        points = 0
    if commas and commas >= points + thousands:
        return _continental if delimiter else _continental_texts
    if thousands:
        return _english
    if commas:  # fewer than decimal points
        return lambda text: _plain(text) + _DECIMAL_COMMA * ("," in text)
    if not ambiguous:
        return _plain
    if delimiter == ";":
        return _continental
    return lambda text: _plain(text) + _UNCLEAR * ("," in text)


def _plain(text: str) -> str:
    text = text.strip().replace("\u2212", "-")  # the minus sign of typography
    return (
        re.sub(r"[ '\u2019\u00a0\u202f]", "", text) if _GROUPS.fullmatch(text) else text
    )


def _english(text: str) -> str:
    text = _plain(text)
    if _ENGLISH.fullmatch(text):
        return text.replace(",", "")
    return text + _DECIMAL_COMMA * (_CONTINENTAL.fullmatch(text) is not None)


def _continental(text: str) -> str:
    text = _plain(text)
    if _CONTINENTAL.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    if "." not in text:
        return text.replace(",", ".")
    number = _ENGLISH.fullmatch(text) or _POINT.fullmatch(text)
    return text + _DECIMAL_POINT * (number is not None)


def _continental_texts(text: str) -> str:
    return _continental(text) if "," in text else text
