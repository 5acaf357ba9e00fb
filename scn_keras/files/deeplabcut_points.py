"""Tables of DeepLabCut."""

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files._table_rows import TableRows, with_decimal_points
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position

_HEADERS = ("scorer", "individuals", "bodyparts", "coords")


def is_deeplabcut(table: TableRows) -> bool:
    """Returns whether a table has the three or four rows of DeepLabCut's header."""
    first = [row[0].lower() for _, row in table.rows[:4] if row]
    return first[:1] == ["scorer"] and "bodyparts" in first


def parse_deeplabcut(table: TableRows, problems: PointProblems) -> list[PointSet]:
    """Converts a table of DeepLabCut into points in pixels, one set for each image.

    The rows of the header have the scorer, the body parts and the coordinates. The
    first columns, of which newer versions have three, are the path of the image. The
    centre of the first pixel is at 0, as in the file. An empty cell is a missing
    landmark.

    Args:
        table: `TableRows`, a file such as `CollectedData_scorer.csv`.
        problems: `PointProblems`, to which invalid rows and positions are added.

    Raises:
        ValueError: If the table has several animals or is not valid. The message names
            file and line.
    """
    path = table.path
    headers = {
        row[0].lower(): row for _, row in table.rows[:4] if row[0].lower() in _HEADERS
    }
    if "individuals" in headers:
        raise ValueError(
            f"{path} is a table of DeepLabCut for several animals. An image can have "
            "the landmarks of one object only: export one animal. Received: a row "
            "'individuals'"
        )
    parts, coords = headers["bodyparts"], headers.get("coords")
    if coords is None or len(coords) != len(parts) or len(parts) != len(table.header):
        raise ValueError(
            f"{path}: a table of DeepLabCut must have the rows scorer, bodyparts and "
            f"coords, all of one length. Received: {', '.join(headers)}"
        )
    first = 1
    while first < len(parts) and not coords[first]:
        first += 1
    scorers = {*headers["scorer"][first:]}
    if len(scorers) > 1:
        raise ValueError(
            f"{path}: a table of DeepLabCut must have one scorer. Received: "
            f"{', '.join(sorted(scorers))}"
        )
    columns: dict[str, dict[str, int]] = {}
    for index in range(first, len(parts)):
        columns.setdefault(parts[index], {})[coords[index].lower()] = index
    for part, axes in columns.items():
        if not {"x", "y"} <= {*axes} <= {"x", "y", "likelihood"}:
            raise ValueError(
                f"{path}: the body part {part!r} must have the coordinates x and y. "
                f"Received: {', '.join(axes)}"
            )
    numbers = [axes[axis] for axes in columns.values() for axis in "xy"]
    notes = []
    if any("likelihood" in axes for axes in columns.values()):
        notes.append(
            f"{path}: the likelihood of points is not read. Points that a network "
            "predicted with a low likelihood are points like others; empty them first."
        )
    sets = []
    for line, fields in with_decimal_points(table, numbers, problems, len(headers)):
        image = "/".join(field for field in fields[:first] if field)
        points = np.full((len(columns), 2), np.nan)
        for row, (part, axes) in enumerate(columns.items()):
            with problems.of(image):
                points[row] = parse_position(
                    [fields[axes["x"]], fields[axes["y"]]],
                    f"{path}, line {line}: the position of {part!r}",
                    2,
                    "xy",
                )
        lines = [line] * len(columns)
        sets.append(
            PointSet(
                [*columns],
                points,
                image=image,
                lines=lines,
                notes=notes,
            )
        )
    return sets
