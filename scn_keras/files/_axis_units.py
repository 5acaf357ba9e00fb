"""Units and kinds of the axes of volumes, which ITK does not read."""

import re
from pathlib import Path

_MILLIMETRES = {"mm", "millimeter", "millimetre", "millimeters", "millimetres"}
# Of axes that are not along space, in the form of NRRD.
_OTHER_KINDS = {"time", "list", "point", "covariant-vector", "normal", "quaternion"}


def require_millimetres(path: Path, image_io: str, header: bytes) -> None:
    """Validates the units and the kinds of axes in the header of NRRD and MetaImage.

    ITK scales by the units of NIfTI, and ignores those of these formats.

    Args:
        path: Path, the file, for messages.
        image_io: Str, the ITK reader's name.
        header: Bytes, the header, which is text.

    Raises:
        ValueError: If an axis is of space and not in mm, or is not of space.
    """
    text = header.decode("latin-1")
    if image_io == "MetaImageIO":
        fields = {"DistanceUnits": _fields(text, r"DistanceUnits\s*=")}
        kinds = []
    else:
        fields = {
            name: _fields(text, rf"{name}\s*:") for name in ("space units", "units")
        }
        kinds = _fields(text, r"kinds\s*:")
    for name, units in fields.items():
        wrong = [u for u in units if u.lower() not in {*_MILLIMETRES, "", "?", "???"}]
        # A unit of values, in the field `units`, belongs to an axis of components.
        if name == "units" and any(kind not in ("domain", "space") for kind in kinds):
            wrong = []
        if wrong:
            raise ValueError(
                f"{path}: {name!r} of the header must be mm. Convert spacing, "
                "directions and origin to mm, for example by 3D Slicer. Received: "
                f"{', '.join(wrong)}"
            )
    if other := [kind for kind in kinds if kind.lower() in _OTHER_KINDS]:
        raise ValueError(
            f"{path}: the axes of an image must be of the kind domain or space. Export "
            f"a single volume. Received: {', '.join(other)}"
        )


def _fields(text: str, key: str) -> list[str]:
    """Returns the values of a field, which may be in quotes."""
    match = re.search(rf"^{key}[ \t]*(.*?)\r?$", text, re.IGNORECASE | re.MULTILINE)
    if match is None:
        return []
    return [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', match[1])]
