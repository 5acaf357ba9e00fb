import dataclasses
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich import progress

from scn_keras.datasets.case import Case
from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.check_result import CheckResult
from scn_keras.datasets.check.common_shape import MIN_SHAPES, CommonShape
from scn_keras.datasets.check.coordinate_conventions import placement
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts, image_facts
from scn_keras.datasets.check.labels import count_fits, labels
from scn_keras.datasets.check.outlying_points import misplaced
from scn_keras.datasets.check.patients import patients
from scn_keras.datasets.check.repeats import SAME_IMAGE, repeats
from scn_keras.datasets.check.spacing import spacing
from scn_keras.landmark_schema import LandmarkSchema

FILE = "file"
BLANK = "blank image"

# What is said of more cases than this, and of a fifth of all, is said once.
_MERGED = 5
_MERGED_SHARE = 0.2
_VIEWS = 4


def check_cases(
    cases: Sequence[Case],
    schema: LandmarkSchema,
    folder: Path,
    dataset: str = "",
    problems: Iterable[str] = (),
) -> CheckResult:
    """Checks the cases of a folder, reading every image once.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema`.
        folder: Path, to which the result's paths are relative.
        dataset: Str, the name of the builder.
        problems: Iterable of str, what has been found about files that are no case.

    Returns:
        `CheckResult`. The same folder always has the same one.
    """
    facts, found = _read(cases, schema)
    found += [Finding(ERROR, FILE, problem) for problem in problems]
    found += labels(cases, schema)
    found += spacing(facts)
    same_images = repeats(facts)
    repeated = {frozenset(f.cases) for f in same_images if f.kind == SAME_IMAGE}
    found += [*same_images, *patients(cases, repeated)]
    found += _of_points(facts, schema)
    merged = sorted(_merge(found, len(cases)), key=_rank)
    splits = Counter(case.split for case in cases)
    return CheckResult(
        folder,
        dataset,
        schema,
        dict(sorted(splits.items())),
        tuple(_relative(finding, folder) for finding in merged),
    )


def _read(
    cases: Sequence[Case], schema: LandmarkSchema
) -> tuple[list[ImageFacts], list[Finding]]:
    facts, found = [], []
    for case in progress.track(cases, "read images", transient=True):
        path = (str(case.image_path),)
        # A warning, for example of a spacing that is not the patient's, is a note.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                pairs = schema.pairs if count_fits(case, schema) else ()
                fact = image_facts(case, pairs)
            except (ValueError, OSError) as error:
                found.append(Finding(ERROR, FILE, str(error), "", (case.id,), path))
                continue
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            # The same of all files, so that it is said once.
            what = text.replace(str(case.image_path), "The file")
            found.append(Finding(NOTE, FILE, what, "", (case.id,), path))
        if fact.blank:
            what = "All pixels of the image are equal."
            views = (View(case),)
            found.append(Finding(ERROR, BLANK, what, "", (case.id,), path, views=views))
        facts.append(fact)
    return facts, found


def _of_points(facts: Sequence[ImageFacts], schema: LandmarkSchema) -> list[Finding]:
    annotations = [
        Annotation(fact, feature)
        for fact in facts
        if count_fits(fact.case, schema)
        for feature in _features(fact.case)
    ]
    if not annotations:
        return []
    shapes = [a.in_space(a.points) for a in annotations if a.has_shape]
    groups = {a.case.group for a in annotations if a.has_shape}
    shape = CommonShape(np.stack(shapes)) if len(groups) >= MIN_SHAPES else None
    found = placement(annotations, schema, shape)
    # Other findings on a case would only repeat, in other words, that it is misread.
    wrong = {id for f in found if len(f.cases) == 1 for id in f.cases}
    return [
        *found,
        *misplaced([a for a in annotations if a.case.id not in wrong], schema),
    ]


def _features(case: Case) -> Iterator[str]:
    """The observers of a case, without those whose points are mostly another's.

    A ground truth that was made from one observer's points is not a second opinion.
    """
    kept: list[np.ndarray] = []
    for feature, points in case.points.items():
        copies = (np.abs(points - other).max(axis=-1) < 0.01 for other in kept)
        if not np.isnan(points).all() and all(c.mean() < 0.5 for c in copies):
            kept.append(points)
            yield feature


def _merge(found: Iterable[Finding], count: int) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in found:
        key = finding.severity, finding.kind, finding.what
        groups.setdefault(key, []).append(finding)
    for same in groups.values():
        cases = tuple(sorted({id for finding in same for id in finding.cases}))
        many = max(_MERGED, _MERGED_SHARE * count)
        if len(cases) <= many or any(len(f.cases) != 1 for f in same):
            yield from same
            continue
        yield dataclasses.replace(
            same[0],
            detail=f"For example {same[0].cases[0]}: {same[0].detail}",
            cases=cases,
            files=tuple(dict.fromkeys(path for f in same for path in f.files)),
            landmarks=tuple(dict.fromkeys(n for f in same for n in f.landmarks)),
            views=tuple(view for f in same for view in f.views)[:_VIEWS],
        )


def _rank(finding: Finding) -> tuple[object, ...]:
    return finding.severity, finding.kind, finding.cases, finding.message


def _relative(finding: Finding, folder: Path) -> Finding:
    prefix = f"{folder}/"
    return dataclasses.replace(
        finding,
        what=finding.what.replace(prefix, ""),
        detail=finding.detail.replace(prefix, ""),
        files=tuple(path.removeprefix(prefix) for path in finding.files),
    )
