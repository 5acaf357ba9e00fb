from collections.abc import Collection, Sequence

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import ERROR, Finding

SAME_PATIENT = "same patient"
SAME_ID = "same id"


def patients(
    cases: Sequence[Case], repeated: Collection[frozenset[str]] = ()
) -> list[Finding]:
    """Finds patients that are in more than one split, and ids that are there twice.

    Args:
        cases: Sequence of `Case`.
        repeated: Collection of pairs of ids whose images are the same: where that is
            all that links two splits, it has been said.
    """
    found = []
    by_id: dict[str, list[Case]] = {}
    by_group: dict[str, list[Case]] = {}
    for case in cases:
        by_id.setdefault(case.id, []).append(case)
        by_group.setdefault(case.group, []).append(case)
    for id, same in by_id.items():
        if len(same) > 1:
            what = "Two cases have the same id."
            paths = tuple(str(case.image_path) for case in same)
            found.append(Finding(ERROR, SAME_ID, what, "", (id,), paths))
    for group, members in by_group.items():
        across = [
            {a.id, b.id}
            for n, a in enumerate(members)
            for b in members[n + 1 :]
            if a.split != b.split
        ]
        if any(frozenset(pair) not in repeated for pair in across):
            splits = sorted({case.split or "no split" for case in members})
            what = f"The same patient is in {' and in '.join(splits)}."
            ids = tuple(case.id for case in members)
            paths = tuple(str(case.image_path) for case in members)
            detail = f"Patient {group}."
            found.append(Finding(ERROR, SAME_PATIENT, what, detail, ids, paths))
    return found
