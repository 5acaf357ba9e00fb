from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import NOTE, Finding, View
from scn_keras.datasets.check.label_variants import normal_form
from scn_keras.landmark_schema import LandmarkSchema

GROUPS = "several kinds of images"

# Two landmarks that are never in the same case although this number of cases is
# expected by chance.
_MIN_EXPECTED = 5.0
_MIN_CASES = 2
_MAX_NAMES = 6


def landmark_groups(present: np.ndarray) -> list[np.ndarray]:
    """Returns groups of rows that have no landmark in common with other groups.

    Args:
        present: Bool array `(R, N)`, the landmarks of each row.

    Returns:
        List of arrays of the indices of rows, the largest group first. Rows without
        any landmark are in none.

    Example:

    >>> present = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], bool)
    >>> [rows.tolist() for rows in landmark_groups(present)]
    [[0, 1], [2]]
    """
    left = set(np.flatnonzero(present.any(axis=1)).tolist())
    groups = []
    while left:
        landmarks = present[min(left)]
        while True:
            rows = present[:, landmarks].any(axis=1)
            joined = present[rows].any(axis=0)
            if (joined == landmarks).all():
                break
            landmarks = joined
        groups.append(np.flatnonzero(rows))
        left -= set(groups[-1].tolist())
    return sorted(groups, key=lambda rows: (-len(rows), rows[0]))


def find_landmark_groups(
    cases: Sequence[Case], schema: LandmarkSchema
) -> list[Finding]:
    """Finds sets of images with different landmarks, for example two views.

    Either the cases fall into groups without a common landmark, or some landmarks are
    never in the same case, although each is in many. Labels that differ only in their
    spelling count as one landmark.

    Args:
        cases: Sequence of `Case` with as many points as the set has landmarks.
        schema: `LandmarkSchema`.
    """
    rows = [case for case in cases if case.points]
    if not rows:
        return []
    present = np.array(
        [
            np.any([~np.isnan(p).any(axis=-1) for p in case.points.values()], axis=0)
            for case in rows
        ]
    )
    # Spellings of one label are another finding.
    forms = [normal_form(name) for name in schema.names]
    columns = [[f == form for f in forms] for form in dict.fromkeys(forms)]
    merged = np.stack([present[:, c].any(axis=1) for c in columns], axis=1)
    groups = [g for g in landmark_groups(merged) if len(g) >= _MIN_CASES]
    if len(groups) > 1:
        what = f"There are {len(groups)} groups of cases without a common landmark."
    else:
        groups = _exclusive(merged)
        what = "Some landmarks are never in the same case."
    if not groups:
        return []
    shared = np.logical_and.reduce([present[g].any(axis=0) for g in groups])
    parts = []
    for group in groups:
        own = np.flatnonzero(present[group].any(axis=0) & ~shared)
        names = ", ".join(schema.names[row] for row in own[:_MAX_NAMES])
        more = ", ..." if len(own) > _MAX_NAMES else ""
        example = rows[group[0]].id
        parts.append(f"{len(group)} cases, such as {example}, have {names}{more}")
    return [
        Finding(
            NOTE,
            GROUPS,
            what,
            f"{'; '.join(parts)}. If these are two views or kinds of images, prepare "
            "them as two data sets; otherwise make their labels alike.",
            tuple(rows[i].id for group in groups for i in group),
            views=tuple(View(rows[g[0]], _points(rows[g[0]])) for g in groups[:4]),
        )
    ]


def _exclusive(present: np.ndarray) -> list[np.ndarray]:
    """Returns the cases of the two most frequent landmarks that are never together."""
    counts = present.sum(axis=0)
    expected = np.outer(counts, counts) / len(present)
    together = present.T.astype(int) @ present.astype(int)
    expected[together > 0] = 0.0
    a, b = np.unravel_index(int(expected.argmax()), expected.shape)
    if expected[a, b] < _MIN_EXPECTED:
        return []
    return [np.flatnonzero(present[:, a]), np.flatnonzero(present[:, b])]


def _points(case: Case) -> np.ndarray:
    return np.asarray(next(iter(case.points.values())), np.float64)
