"""Validation of the arguments of built-in transforms."""

import dataclasses
from collections.abc import Collection
from typing import Any

from scn_keras.training import _ranges


def require_ranges(
    transform: Any, below_one: Collection[str] = (), up_to_one: Collection[str] = ()
) -> None:
    """Validates that the arguments are in their ranges, by default at least 0.

    Args:
        transform: Dataclass with the arguments.
        below_one: Names of arguments that must be from 0 to below 1.
        up_to_one: Names of arguments that must be from 0 to 1.

    Raises:
        ValueError: If an argument is out of its range.
    """
    ranges: _ranges.Ranges = {}
    for field in dataclasses.fields(transform):
        value = getattr(transform, field.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        ranges[field.name] = _ranges.AT_LEAST_0
        if field.name in below_one:
            ranges[field.name] = _ranges.BELOW_1
        elif field.name in up_to_one:
            ranges[field.name] = _ranges.FRACTION
    _ranges.require_ranges(transform, "augmentation", ranges)


def require_one_unit(transform: Any, name: str) -> None:
    """Validates that an argument is not given both in millimetres and as a fraction."""
    fraction, millimetres = (getattr(transform, n) for n in (name, f"{name}_mm"))
    if fraction and millimetres:
        raise ValueError(
            f"Set either `{name}` or `{name}_mm` of the augmentation, the other to 0. "
            f"Received: {name}={fraction}, {name}_mm={millimetres}"
        )
