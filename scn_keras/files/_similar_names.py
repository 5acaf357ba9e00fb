"""Suggestions for names that are not known."""

import difflib
import re
from collections.abc import Iterable


def similar_name(name: str, names: Iterable[str]) -> str:
    """Returns the question whether a similar name was meant; empty if none is similar.

    Args:
        name: Str, a name that is not among `names`.
        names: Iterable of str. Names with numbers are similar if the numbers are equal,
            so that film_12 is no mistake for film_13.

    Example:

    >>> similar_name("Film 3", ["film_003", "film_004"])
    " Did you mean 'film_003'?"
    """
    known = [*dict.fromkeys(names)]
    similar = [other for other in known if other.lower() == name.lower()]
    if not similar and (numbers := _numbers(name)):
        similar = [other for other in known if _numbers(other) == numbers]
    elif not similar:
        similar = difflib.get_close_matches(name.lower(), known, 1, 0.7)
    return f" Did you mean {similar[0]!r}?" if len(similar) == 1 else ""


def _numbers(name: str) -> list[str]:
    return [digits.lstrip("0") for digits in re.findall(r"\d+", name)]
