"""States of landmarks: visible, occluded, missing."""

from typing import Any

import numpy as np

# Names of columns and fields. Those of COCO are 0 (not labelled), 1 (occluded) and 2
# (visible); of the second line, 1 is a missing landmark.
_SHOWN = ("visibility", "visible", "vis", "v", "present", "labelled", "labeled")
_HIDDEN = ("missing", "absent", "outside")
VISIBILITY = (*_SHOWN, *_HIDDEN)

_VALUES = {
    **dict.fromkeys(("0", "0.0", "false", "no", "n"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes", "y"), True),
}
_TWO = dict.fromkeys(("2", "2.0"), True)


def with_visibility(
    position: np.ndarray, state: Any, kind: str, where: str
) -> np.ndarray:
    """Returns a position, NaN for a landmark that is not labelled.

    Args:
        position: Array `(D,)`, NaN for no coordinates.
        state: Str, number or bool, the value of the field.
        kind: Str, the name of the field, one of `VISIBILITY`.
        where: Str, the beginning of an error message.

    Raises:
        ValueError: If the value is unknown or contradicts the coordinates.
    """
    text = str(state).strip().lower()
    value = (_VALUES if kind in _HIDDEN else {**_VALUES, **_TWO}).get(text)
    if value is None:
        expected = "0 (not labelled), 1 (occluded) or 2 (visible)"
        if kind in _HIDDEN:
            expected = "0 or 1"
        raise ValueError(
            f"{where} must have the value {expected} of {kind!r}. Received: {state!r}"
        )
    labelled = value is not (kind in _HIDDEN)
    missing = bool(np.isnan(position[0]))
    if not labelled and not missing and position.any():
        raise ValueError(
            f"{where} must be empty where {kind!r} is {state}. Empty it if the "
            "landmark is missing, or correct the value if it is a point. Received: "
            f"{', '.join(f'{x:g}' for x in position)}"
        )
    if labelled and missing:
        raise ValueError(
            f"{where} must be numbers where {kind!r} is {state}. Correct the value if "
            "the landmark is missing. Received: no coordinates"
        )
    return position if labelled else np.full(len(position), np.nan)
