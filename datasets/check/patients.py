from collections.abc import Collection, Sequence

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import ERROR, Finding

SAME_PATIENT = "same patient"
SAME_ID = "same id"


def find_patient_problems(
    cases: Sequence[Case], repeated: Collection[frozenset[str]] = ()
) -> list[Finding]:
    """Finds patients in more than one split, and ids that are used twice.

    Args:
        cases: Sequence of `Case`.
        repeated: Collection of pairs of ids whose images are equal. A patient whose
            cases in different splits are all such pairs is not reported again.
    """
    findings = []
    by_id: dict[str, list[Case]] = {}
    by_group: dict[str, list[Case]] = {}
    for case in cases:
        by_id.setdefault(case.id, []).append(case)
        by_group.setdefault(case.group, []).append(case)
    for id, members in by_id.items():
        if len(members) > 1:
            what = "Two cases have the same id."
            paths = tuple(str(case.image_path) for case in members)
            findings.append(Finding(ERROR, SAME_ID, what, "", (id,), paths))
    for group, members in by_group.items():
        across_splits = [
            {a.id, b.id}
            for n, a in enumerate(members)
            for b in members[n + 1 :]
            if a.split != b.split
        ]
        if any(frozenset(pair) not in repeated for pair in across_splits):
            splits = sorted({case.split or "no split" for case in members})
            what = f"The same patient is in {' and in '.join(splits)}."
            ids = tuple(case.id for case in members)
            paths = tuple(str(case.image_path) for case in members)
            detail = f"Patient {group}."
            findings.append(Finding(ERROR, SAME_PATIENT, what, detail, ids, paths))
    return findings
