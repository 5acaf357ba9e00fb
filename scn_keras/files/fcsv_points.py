"""Point lists of 3D Slicer, `.fcsv`."""

import csv
from pathlib import Path

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.point_set import PointSet
from scn_keras.files.slicer_points import HAS_POSITION, SIGN, tentative_notes
from scn_keras.files.text_values import parse_position, read_text

_FCSV_COLUMNS: tuple[str, ...] = (
    *("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label"),
    *("desc", "associatedNodeID"),
)
# A number up to version 4.10, a number or a name since then.
_FCSV_SPACES = {"0": "RAS", "RAS": "RAS", "1": "LPS", "LPS": "LPS", "2": "", "IJK": ""}
# Since version 4.11 a row has two values more than the header: the status of the
# position and whether it was created automatically.
_FCSV_STATUS, _FCSV_DEFINED = 14, "2"
_FCSV_HAS_POSITION = {"0": False, "1": True, "2": True, "3": False}


def read_fcsv(path: Path, problems: PointProblems) -> PointSet:
    """Reads a `.fcsv` file of any version.

    A file without a coordinate system is in RAS, as in 3D Slicer. A position whose
    status is 0 (undefined) or 3 (missing) is a missing landmark, and one of status 1
    (preview) or 2 (defined) is a point, whether it is shown, selected, locked or not.

    Args:
        path: Path, the file.
        problems: `PointProblems`, to which invalid rows are added.

    Returns:
        `PointSet`, in LPS, or in pixels for a file in index coordinates (IJK).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not valid. The message names file and line.
    """
    system, columns = "RAS", _FCSV_COLUMNS
    labels: list[str] = []
    positions: list[np.ndarray] = []
    numbers: list[int] = []
    tentative: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.startswith("#"):
            key, _, value = line.strip("#, ").partition("=")
            key, value = key.strip(), value.strip()
            if key == "CoordinateSystem":
                if value not in _FCSV_SPACES:
                    raise ValueError(
                        f"{path}, line {number}: CoordinateSystem must be RAS or 0, "
                        f"LPS or 1, IJK or 2. Received: {value!r}"
                    )
                system = _FCSV_SPACES[value]
            elif key == "columns":
                columns = tuple(name.strip() for name in value.split(","))
                if absent := {"x", "y", "z", "label"} - set(columns):
                    raise ValueError(
                        f"{path}, line {number}: the columns {sorted(absent)} are "
                        "missing."
                    )
            continue
        if not line.strip():
            continue
        with problems.of():
            position, label, status = _parse_fcsv_row(path, number, line, columns)
            where = f"{path}, line {number}: the position of {label!r}"
            positions.append(parse_position(position, where, 3, "xyz"))
            labels.append(label)
            numbers.append(number)
            if status in ("1", "preview", "edit"):
                tentative.append(label)
    points = np.reshape(positions, (-1, 3)) * SIGN.get(system, 1.0)
    space = "LPS" if system else "pixels"
    notes = tentative_notes(path, tentative)
    return PointSet(labels, points, space, lines=numbers, notes=notes)


def _parse_fcsv_row(
    path: Path, number: int, line: str, columns: tuple[str, ...]
) -> tuple[list[str], str, str]:
    """Returns x, y and z as text, empty if missing, the label and the status."""
    (fields,) = csv.reader([line])
    fields = [field.strip() for field in fields]
    indices = [columns.index(name) for name in ("x", "y", "z", "label")]
    where = f"{path}, line {number}"
    if len(fields) <= max(indices):
        raise ValueError(
            f"{where} must have the columns {','.join(columns)}. "
            f"Received: {line[:60]!r}"
        )
    standard = columns == _FCSV_COLUMNS
    counts = {len(columns), len(columns) + 2} if standard else {len(columns)}
    if len(fields) > len(columns) and len(fields) not in counts:
        raise ValueError(
            f"{where} must have {' or '.join(map(str, sorted(counts)))} values for the "
            f"columns {','.join(columns)}. Write decimals with a point, and labels "
            f"that contain a comma in quotes. Received: {len(fields)} values, "
            f"{line[:60]!r}"
        )
    *position, label = (fields[index] for index in indices)
    if not label:
        raise ValueError(f"{where}: the point has no label.")
    names = [name.lower().replace(" ", "") for name in columns]
    status = _FCSV_STATUS if standard and len(fields) > len(columns) else None
    if "positionstatus" in names and len(fields) > names.index("positionstatus"):
        status = names.index("positionstatus")
    if status is not None:
        known = {**_FCSV_HAS_POSITION, **HAS_POSITION}
        if fields[status].lower() not in known:
            raise ValueError(
                f"{where}: the status of the position (positionStatus, value "
                f"{status + 1}) must be 0 undefined, 1 preview, 2 defined or 3 "
                f"missing. Received: {fields[status]!r} in {line[:60]!r}"
            )
        if not known[fields[status].lower()]:
            return [""] * 3, label, fields[status]
        if not any(position):
            raise ValueError(
                f"{where}: the position of {label!r} must be three numbers where its "
                f"status is {fields[status]}. Received: {line[:60]!r}"
            )
    return position, label, "" if status is None else fields[status].lower()


def format_fcsv(points: PointSet, coordinate_system: str, old: bool) -> str:
    """Returns the text of a `.fcsv` file.

    Args:
        points: `PointSet`, in LPS.
        coordinate_system: Str, `"LPS"` or `"RAS"`, of the file.
        old: Bool, whether the file is for 3D Slicer up to version 4.10: with a number
            for the coordinate system, and without rows for missing landmarks, which
            these versions cannot represent.
    """
    code = {"RAS": "0", "LPS": "1"}[coordinate_system] if old else coordinate_system
    lines = [
        f"# Markups fiducial file version = {'4.10' if old else '5.0'}",
        f"# CoordinateSystem = {code}",
        f"# columns = {','.join(_FCSV_COLUMNS)}",
    ]
    rows = (points.points * SIGN[coordinate_system]).tolist()
    for number, (label, row) in enumerate(zip(points.labels, rows, strict=True), 1):
        missing = np.isnan(row[0])
        if missing and old:
            continue
        if any(character in label for character in ',"'):
            label = '"' + label.replace('"', '""') + '"'
        position = ",".join(repr(value) for value in ([0.0] * 3 if missing else row))
        status = "" if old else f",{0 if missing else _FCSV_DEFINED},0"
        lines.append(f"{number},{position},0,0,0,1,1,1,0,{label},,{status}")
    return "\n".join(lines) + "\n"
