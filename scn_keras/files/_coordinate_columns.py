"""The columns of coordinates of a table."""

import re
from pathlib import Path

# x, sella_x, sella_x_mm, "sella x (mm)"; the unit is "px" (the default) or "mm".
COORDINATE = re.compile(
    r"(?:(.*?)[_ .-])?([xyz])(?:[_ (\[]+(px|pixels?|mm)[)\]]?)?", re.IGNORECASE
)
_UNITS = {
    **dict.fromkeys((None, "px", "pixel", "pixels"), "pixels"),
    "mm": "LPS",
}

OTHER_UNIT = re.compile(
    r"(?:(.*?)[_ .-])?[xyz][_ (\[]+"
    r"(?:[cdnuµ]?m|in|inch|vox|voxels?|norm|rel|%)[)\]]*",
    re.IGNORECASE,
)

FORMS = (
    "It must name the columns `image,sella_x,sella_y,...` (an image per row) or "
    "`image,label,x,y` (a landmark per row), with z in 3D and `_mm` at the end for "
    "millimetres (LPS)."
)


def coordinate_columns(
    path: Path, header: list[str], space: str | None
) -> dict[str, tuple[list[int], str]]:
    """Returns columns x, y(, z) and the space of each label, `""` in the long form."""
    columns_of: dict[tuple[str, str], dict[str, int]] = {}
    for index, name in enumerate(header):
        if match := COORDINATE.fullmatch(name):
            label, axis, unit = match.groups()
            column_space = _UNITS[unit and unit.lower()]
            if unit is None and space is not None:
                column_space = space
            key = label or "", column_space
            columns_of.setdefault(key, {})[axis.lower()] = index
    groups: dict[str, tuple[list[int], str]] = {}
    preferred = space or "pixels"
    for (label, column_space), axes in columns_of.items():
        # Of pixels and millimetres, those in the preferred space are read.
        if label in groups and column_space != preferred:
            continue
        if sorted(axes) not in (["x", "y"], ["x", "y", "z"]):
            raise ValueError(
                f"{path}, line 1: {label or 'the point'!r} must have columns for x and "
                f"y, or for x, y and z. Received: {sorted(axes)}"
            )
        groups[label] = ([axes[axis] for axis in sorted(axes)], column_space)
    kinds = {(len(columns), space) for columns, space in groups.values()}
    for name in header:
        match = OTHER_UNIT.fullmatch(name)
        if groups and match and (match[1] or "") not in groups:
            raise ValueError(
                f"{path}, line 1: the unit of the column {name!r} must be px or mm. "
                "Convert the coordinates to one of them."
            )
    if not groups or len(kinds) > 1:
        raise ValueError(
            f"{path}, line 1 is not the header of a table of points. {FORMS}"
        )
    return groups
