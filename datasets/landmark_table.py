import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def read_landmark_table(
    path: Path, count: int, problems: list[str]
) -> dict[str, np.ndarray]:
    """Reads a table without a header: in each line an id, then x and y of each point.

    It is the form of the published setups of hands and cephalograms.

    Args:
        path: Path, the file.
        count: int, the number of landmarks.
        problems: List to which everything wrong is appended, one sentence a problem.

    Returns:
        Dict of ids to arrays `(count, 2)`, without the lines that are wrong.
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
            problems.append(f"{path}, line {number}: the id {id} is there again.")
        else:
            table[id] = np.reshape(numbers, (count, 2))
    return table


def read_id_list(path: Path, problems: list[str]) -> list[str]:
    """Reads a list of ids, one a line.

    Args:
        path: Path, the file.
        problems: List to which everything wrong is appended, one sentence a problem.
    """
    ids = [line.strip() for line in _lines(path, problems)]
    if repeated := sorted({id for id in ids if ids.count(id) > 1}):
        problems.append(f"{path} has {', '.join(repeated)} more than once.")
    return ids


def subsets_of_lists(
    lists: Mapping[str, Sequence[str]], split_of: Mapping[str, str]
) -> tuple[dict[str, tuple[str, frozenset[str]]], list[str]]:
    """Turns published lists into subsets, as far as all of their images are there.

    A part of a list is another list: it would bear the name of a protocol that it is
    not.

    Args:
        lists: Mapping of names to ids.
        split_of: Mapping of the ids that are there to their splits.

    Returns:
        A pair: the subsets, and a sentence on the lists that are left out, if any.
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
        "Published lists are left out, since images of them are absent: "
        f"{', '.join(left_out)}."
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
