import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.label_variants import find_label_variants
from scn_keras.landmark_schema import LandmarkSchema

LABELS = "labels"
COUNT = "number of points"
MISSING = "missing landmarks"
SAME_PLACE = "same place"
COPIED = "same points"
NO_POINTS = "no points"


def find_label_problems(cases: Sequence[Case], schema: LandmarkSchema) -> list[Finding]:
    """Finds labels, numbers of points and points that contradict each other.

    Errors are labels that are spelt differently from file to file, a label that occurs
    twice in a file, a label that the set does not have, a number of points that differs
    from the set's, points that were copied from another case, and a landmark that no
    case has. A note is made of missing landmarks: one for the whole set, since they are
    normal.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema` of the set.
    """
    variants = find_label_variants(cases, schema)
    spellings = {label for finding in variants for label in finding.landmarks}
    findings = [f for case in cases for f in _check_labels(case, schema, spellings)]
    return [*variants, *findings, *_copied(cases), *_missing(cases, schema)]


def find_coinciding_points(
    cases: Sequence[Case], schema: LandmarkSchema
) -> list[Finding]:
    """Finds two landmarks of a case at exactly the same position: notes.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema` of the set.
    """
    fitting = [case for case in cases if count_fits(case, schema)]
    return [finding for case in fitting for finding in _coinciding(case, schema)]


def count_fits(case: Case, schema: LandmarkSchema) -> bool:
    """Tells whether a case has as many points as its set has landmarks."""
    return all(len(points) == len(schema) for points in case.points.values())


def _check_labels(
    case: Case, schema: LandmarkSchema, spellings: Collection[str]
) -> Iterator[Finding]:
    for name, times in Counter(case.labels).items():
        if times > 1:
            yield _finding(
                case, ERROR, LABELS, "A label occurs more than once.",
                f"{name!r} {times} times.", (name,),
            )  # fmt: skip
    absent = [name for name in schema.names if name not in case.labels]
    for name in dict.fromkeys(case.labels):
        if name not in schema.names and name not in spellings:
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
    fitting = [case for case in cases if count_fits(case, schema) and case.points]
    for case in fitting:
        missing = [np.isnan(p).any(-1) for p in case.points.values()]
        rows = np.flatnonzero(np.any(missing, axis=0))
        counts.update(schema.names[row] for row in rows)
        if len(rows):
            incomplete.append(case.id)
    absent = [
        name for name in schema.names if fitting and _is_absent(name, fitting, schema)
    ]
    if fitting and len(absent) == len(schema):
        what = "No case has a point."
        yield Finding(ERROR, NO_POINTS, what, "All positions are empty.")
        return
    if absent:
        names = ", ".join(absent[:10]) + (", ..." if len(absent) > 10 else "")
        yield Finding(
            ERROR,
            NO_POINTS,
            "A landmark has no point in any case.",
            f"{names}. A network cannot learn it: complete its points, or remove it "
            "from the names of the set.",
            landmarks=tuple(absent),
        )
    for name in absent:
        del counts[name]
    if counts:
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


def _is_absent(name: str, cases: Sequence[Case], schema: LandmarkSchema) -> bool:
    row = schema.names.index(name)
    return all(np.isnan(p[row]).any() for case in cases for p in case.points.values())


def _finding(case, severity, kind, what, detail, landmarks=(), views=()):
    paths = tuple(map(str, case.points_paths))
    return Finding(severity, kind, what, detail, (case.id,), paths, landmarks, views)
