import difflib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.landmark_schema import LandmarkSchema

LABELS = "labels"
COUNT = "number of points"
MISSING = "missing landmarks"
SAME_PLACE = "same place"
COPIED = "same points"


def find_label_problems(cases: Sequence[Case], schema: LandmarkSchema) -> list[Finding]:
    """Finds labels, numbers of points and points that contradict each other.

    Errors are a label that occurs twice in a file, a label that the set does not have,
    a number of points that differs from the set's, and points that were copied from
    another case. Notes are two landmarks of a case at exactly the same position, and
    missing landmarks: one note for the whole set, since they are normal.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema` of the set.
    """
    findings = [f for case in cases for f in _check_labels(case, schema)]
    for case in cases:
        if count_fits(case, schema):
            findings += _coinciding(case, schema)
    return [*findings, *_copied(cases), *_missing(cases, schema)]


def count_fits(case: Case, schema: LandmarkSchema) -> bool:
    """Tells whether a case has as many points as its set has landmarks."""
    return all(len(points) == len(schema) for points in case.points.values())


def _check_labels(case: Case, schema: LandmarkSchema) -> Iterator[Finding]:
    for name, times in Counter(case.labels).items():
        if times > 1:
            yield _finding(
                case, ERROR, LABELS, "A label occurs more than once.",
                f"{name!r} {times} times.", (name,),
            )  # fmt: skip
    absent = [name for name in schema.names if name not in case.labels]
    for name in dict.fromkeys(case.labels):
        if name not in schema.names:
            near = difflib.get_close_matches(name, absent, 1) or absent[:1]
            detail = f"{name!r}; {near[0]!r} is missing." if near else f"{name!r}."
            yield _finding(
                case, ERROR, LABELS, "The set has no landmark of this name.", detail
            )
    if not count_fits(case, schema):
        counts = ", ".join(str(len(points)) for points in case.points.values())
        yield _finding(
            case, ERROR, COUNT, f"The set has {len(schema)} landmarks.",
            f"There are {counts} points.",
        )  # fmt: skip


def _coinciding(case: Case, schema: LandmarkSchema) -> Iterator[Finding]:
    for points in case.points.values():
        by_position: dict[bytes, list[int]] = {}
        for index in np.flatnonzero(~np.isnan(points).any(axis=-1)):
            by_position.setdefault(points[index].tobytes(), []).append(int(index))
        for group in by_position.values():
            if len(group) > 1:
                names = tuple(schema.names[i] for i in group)
                yield _finding(
                    case, NOTE, SAME_PLACE, "Landmarks have the same position.",
                    f"{' and '.join(names)}.", names,
                    (View(case, np.asarray(points, np.float64), tuple(group)),),
                )  # fmt: skip


def _copied(cases: Sequence[Case]) -> Iterator[Finding]:
    first_of: dict[tuple[str, bytes], Case] = {}
    for case in cases:
        for feature, points in case.points.items():
            points = np.asarray(points, np.float64)
            # Two points may be equal by chance.
            if (~np.isnan(points).any(axis=-1)).sum() < 3:
                continue
            first = first_of.setdefault((feature, points.tobytes()), case)
            if first is not case:
                yield Finding(
                    ERROR,
                    COPIED,
                    "Two cases have the same points.",
                    "",
                    (first.id, case.id),
                    tuple(str(p) for c in (first, case) for p in c.points_paths),
                    views=(View(first, points), View(case, points)),
                )


def _missing(cases: Sequence[Case], schema: LandmarkSchema) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    incomplete = []
    for case in cases:
        if count_fits(case, schema) and case.points:
            missing = [np.isnan(p).any(-1) for p in case.points.values()]
            rows = np.flatnonzero(np.any(missing, axis=0))
            counts.update(schema.names[row] for row in rows)
            if len(rows):
                incomplete.append(case.id)
    if incomplete:
        numbers = ", ".join(f"{name} {times}" for name, times in counts.most_common(10))
        rest = ", ..." if len(counts) > 10 else ""
        yield Finding(
            NOTE,
            MISSING,
            "Landmarks are missing.",
            f"In {len(incomplete)} of {len(cases)} cases: {numbers}{rest}.",
            tuple(incomplete),
            landmarks=tuple(counts),
        )


def _finding(case, severity, kind, what, detail, landmarks=(), views=()):
    paths = tuple(map(str, case.points_paths))
    return Finding(severity, kind, what, detail, (case.id,), paths, landmarks, views)
