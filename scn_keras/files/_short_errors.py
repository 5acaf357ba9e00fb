import csv
import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

# What a file holds where a number belongs may have megabytes. Several problems have a
# line each.
_MAX_CHARACTERS, _MAX_LISTED = 800, 2000


def with_short_errors(function: _Function) -> _Function:
    """Makes the errors of a reader sentences that can be shown.

    Args:
        function: Function whose first argument is the file that it reads.

    Returns:
        A function whose `ValueError`s have 800 characters at most, or 2000 in several
        lines. Errors of the module `csv` and of numbers that are too large become such
        as well.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except csv.Error as error:
            text = f"{os.fspath(args[0])} is not a table of values: {error}."
            raise ValueError(text) from error
        except OverflowError as error:  # an integer of hundreds of digits
            text = f"{os.fspath(args[0])} has a number that is too large: {error}."
            raise ValueError(text) from error
        except ValueError as error:
            if "Exceeds the limit" in str(error):  # of Python, on digits
                text = f"{os.fspath(args[0])} has a number of too many digits."
                raise ValueError(text) from error
            text = str(error)
            limit = _MAX_LISTED if "\n  - " in text else _MAX_CHARACTERS
            if len(text) <= limit:
                raise
            raise ValueError(text[:limit] + "...") from error

    return wrapper  # type: ignore[return-value]
