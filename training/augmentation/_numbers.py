"""Checks of the numbers of built-in transforms."""

import dataclasses
import math
from collections.abc import Collection
from typing import Any


def require_ranges(
    transform: Any, below_one: Collection[str] = (), up_to_one: Collection[str] = ()
) -> None:
    """Refuses numbers out of their ranges; without a range, they are at least 0.

    Args:
        transform: Dataclass with the numbers.
        below_one: Names of numbers from 0 to below 1.
        up_to_one: Names of numbers from 0 to 1.

    Raises:
        ValueError: If a number is out of its range.
    """
    for field in dataclasses.fields(transform):
        value = getattr(transform, field.name)
        if not isinstance(value, (int, float)):
            continue
        bound = 1.0 if field.name in below_one else math.inf
        if field.name in up_to_one:
            bound = math.nextafter(1.0, 2.0)
        if not 0.0 <= value < bound:
            raise ValueError(
                f"`{field.name}` of the augmentation must be from 0 to "
                f"{'1' if field.name in up_to_one else f'below {bound}'}. "
                f"Received: {field.name}={value}"
            )


def require_one_unit(transform: Any, name: str) -> None:
    """Refuses a number that is given both as a share of the grid and in millimetres."""
    share, millimetres = (getattr(transform, n) for n in (name, f"{name}_mm"))
    if share and millimetres:
        raise ValueError(
            f"Set `{name}` of the augmentation or `{name}_mm`, the other to 0. "
            f"Received: {name}={share}, {name}_mm={millimetres}"
        )
