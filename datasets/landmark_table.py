import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def read_landmark_table(
    path: Path, count: int, problems: list[str]
) -> dict[str, np.ndarray]:
    """Reads a table without a header, with an id and x and y of each point in a line.

    The published setups of hands and cephalograms have this form.

    Args:
        path: Path, the file.
        count: Int, the number of landmarks.
        problems: List of str, to which a sentence is appended for each problem.

    Returns:
        Dict of ids to arrays `(count, 2)`, without invalid lines.
    """
    table: dict[str, np.ndarray] = {}
    for number, line in enumerate(_lines(path, problems), start=1):
        id, *values = (value.strip() for value in line.split(","))
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            numbers = []
        if len(numbers) != 2 * count or not all(map(math.isfinite, numbers)):
            problems.append(
                f"{path}, line {number} must be an id and {2 * count} finite numbers. "
                f"Received: {line[:40]!r}."
            )
        elif id in table:
            problems.append(f"{path}, line {number}: the id {id} is not unique.")
        else:
            table[id] = np.reshape(numbers, (count, 2))
    return table


def read_id_list(path: Path, problems: list[str]) -> list[str]:
    """Reads a list of ids, one in each line.

    Args:
        path: Path, the file.
        problems: List of str, to which a sentence is appended for each problem.
    """
    ids = [line.strip() for line in _lines(path, problems)]
    if repeated := sorted({id for id in ids if ids.count(id) > 1}):
        problems.append(f"{path} has {', '.join(repeated)} more than once.")
    return ids


def subsets_of_lists(
    lists: Mapping[str, Sequence[str]], split_of: Mapping[str, str]
) -> tuple[dict[str, tuple[str, frozenset[str]]], list[str]]:
    """Returns the published lists whose images are all available as subsets.

    An incomplete list is left out, since it would have the name of another protocol.

    Args:
        lists: Mapping of names to ids.
        split_of: Mapping of the available ids to their splits.

    Returns:
        A pair: the subsets, and a list with a sentence on the omitted lists, if any.
    """
    subsets, left_out = {}, []
    for name, ids in lists.items():
        if absent := sum(id not in split_of for id in ids):
            left_out.append(f"{name} ({absent} of {len(ids)})")
        else:
            splits = sorted({split_of[id] for id in ids})
            subsets[name] = ("+".join(splits), frozenset(ids))
    if not left_out:
        return subsets, []
    return subsets, [
        f"Published lists with missing images are left out: {', '.join(left_out)}."
    ]


def _lines(path: Path, problems: list[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        problems.append(f"{path} is not a text file.")
        return []
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
