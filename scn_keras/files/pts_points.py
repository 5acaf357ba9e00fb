"""Points in PTS files of version 1, as the sets of ibug have them."""

import re
from pathlib import Path

import numpy as np

from scn_keras.files._point_problems import PointProblems
from scn_keras.files.point_set import PointSet
from scn_keras.files.text_values import parse_position, read_text


def read_pts(path: Path, problems: PointProblems) -> PointSet:
    """Reads a PTS file: `version: 1`, `n_points: 68` and the points in braces.

    Points have their number in the file, from 1. The centre of the first pixel is at
    1, 1, as in menpo and the sets of ibug, and at 0, 0 in the result.

    Args:
        path: Path, the file.
        problems: `PointProblems`, to which invalid positions are added.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not valid. The message names file and line.
    """
    count = None
    rows: list[tuple[int, str]] = []
    inside = closed = False
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(("//", "#")):
            continue
        match = re.fullmatch(r"(version|n_points)\s*:\s*(\S+)", text, re.IGNORECASE)
        if match and not inside:
            if match[1].lower() == "version" and match[2].rstrip(".0") != "1":
                raise ValueError(
                    f"{path}, line {number}: the version of a PTS file must be 1. "
                    f"Received: {match[2]!r}"
                )
            if match[1].lower() == "n_points":
                count = match[2]
        elif text == "{" and not inside:
            inside = True
        elif text == "}" and inside:
            inside, closed = False, True
        elif inside:
            rows.append((number, text))
        else:
            raise ValueError(
                f"{path}, line {number} must be `version: 1`, `n_points: N` or one of "
                f"N rows x y in braces. Received: {text[:60]!r}"
            )
    if not closed or str(len(rows)) != count:
        raise ValueError(
            f"{path} must have as many points in braces as n_points states. Received: "
            f"n_points={count} and {len(rows)} points{'' if closed else ' without }'}"
        )
    points = np.full((len(rows), 2), np.nan)
    for n, (number, row) in enumerate(rows, 1):
        with problems.of():
            where = f"{path}, line {number}: point {n}"
            points[n - 1] = parse_position(row.split(), where, 2) - 1.0
    return PointSet(
        [str(n) for n in range(1, len(points) + 1)],
        points,
        lines=[number for number, _ in rows],
        numbered=True,
    )
