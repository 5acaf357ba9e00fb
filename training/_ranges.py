"""Validation of the numbers in a part of a recipe."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

# Ranges of numbers: a description and a test of one number.
AT_LEAST_0 = ("at least 0", lambda x: x >= 0)
ABOVE_0 = ("above 0", lambda x: x > 0)
FRACTION = ("from 0 to 1", lambda x: 0 <= x <= 1)
BELOW_1 = ("from 0 to below 1", lambda x: 0 <= x < 1)
Ranges = dict[str, tuple[str, Callable[[float], bool]]]


def require_ranges(
    part: Any, label: str, ranges: Ranges, optional: Sequence[str] = ()
) -> None:
    """Validates the numbers of a part of a recipe.

    Args:
        part: Dataclass. A setting may have several numbers, in a list or tuple.
        label: Str, the name of the part in the recipe.
        ranges: Dict of the ranges, by setting.
        optional: The settings that may be `None`.

    Raises:
        ValueError: If a value is not a finite number in its range.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(part)}
    for name, (description, is_valid) in ranges.items():
        value = getattr(part, name)
        if value is None and name in optional:
            continue
        several = isinstance(value, (list, tuple)) and value
        for number in value if several else [value]:
            if not (_is_number(number) and is_valid(number)):
                raise ValueError(
                    f"`{label}.{name}` must be a number {description}, for example "
                    f"{defaults[name] or 0.5}. Received: {label}.{name}={value!r}"
                )


def _is_number(value):
    # NumPy's float64 is a float.
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)
