import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich import progress

from scn_keras.datasets.case import Case, reading_stored_pixels
from scn_keras.datasets.check.check_points import check_points
from scn_keras.datasets.check.check_result import CheckResult
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts, read_image_facts
from scn_keras.datasets.check.labels import NO_POINTS, count_fits, find_label_problems
from scn_keras.datasets.check.missing_codes import find_missing_codes
from scn_keras.datasets.check.orientation_tags import find_orientation_tags
from scn_keras.datasets.check.patients import find_patient_problems
from scn_keras.datasets.check.repeats import SAME_IMAGE, find_repeated_images
from scn_keras.datasets.check.spacing import find_spacing_problems
from scn_keras.files.caught_notes import caught_notes
from scn_keras.landmark_schema import LandmarkSchema

FILE = "file"
BLANK = "blank image"
_EMPTY = re.compile("No image has a point|files of points have no point")

# Findings with the same sentence on more cases than this, and on more than a fifth of
# all cases, are merged into one.
_MIN_MERGED = 5
_MIN_MERGED_SHARE = 0.2
_MAX_VIEWS = 4
# The number of samples on the page, by the dimensions of the images.
_SAMPLES = {2: 6, 3: 2}


def check_cases(
    cases: Sequence[Case],
    schema: LandmarkSchema,
    folder: Path,
    dataset: str = "",
    problems: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> CheckResult:
    """Checks the cases of a folder. Each image is read once.

    Args:
        cases: Sequence of `Case`.
        schema: `LandmarkSchema`.
        folder: Path, to which the paths in the result are relative.
        dataset: Str, the name of the builder.
        problems: Iterable of str, known problems of files that belong to no case.
        notes: Iterable of str, remarks on files that belong to no case.

    Returns:
        `CheckResult`. The same folder always has the same result.
    """
    facts, findings = _read_images(cases, schema)
    problems = list(problems)
    findings += [Finding(ERROR, FILE, problem) for problem in problems]
    findings += [Finding(NOTE, FILE, note) for note in notes]
    labels = find_label_problems(cases, schema)
    # Builders that read files name them in a sentence of their own.
    reported = any(_EMPTY.search(problem) for problem in problems)
    findings += [f for f in labels if not (reported and f.kind == NO_POINTS)]
    same_images = find_repeated_images(facts)
    tags, facts = find_orientation_tags(facts, schema)
    codes, facts = find_missing_codes(facts, schema)
    findings += [*tags, *codes, *find_spacing_problems(facts)]
    repeated = {frozenset(f.cases) for f in same_images if f.kind == SAME_IMAGE}
    findings += [*same_images, *find_patient_problems(cases, repeated)]
    point_findings, not_tested = check_points(facts, schema)
    findings += point_findings
    merged = sorted(_merge(findings, len(cases)), key=_rank)
    splits = Counter(case.split for case in cases)
    return CheckResult(
        folder,
        dataset,
        schema,
        dict(sorted(splits.items())),
        tuple(_relative(finding, folder) for finding in merged),
        tuple(not_tested),
        tuple(_samples(facts)),
    )


def _samples(facts: Sequence[ImageFacts]) -> Iterator[View]:
    """Yields views of images that are evenly distributed over the set."""
    facts = sorted(facts, key=lambda fact: fact.case.id)
    with_points = [
        fact
        for fact in facts
        if any(np.isfinite(points).any() for points in fact.case.points.values())
    ]
    # Images that are not annotated are shown if there are no others.
    facts = with_points or facts
    if not facts:
        return
    count = min(_SAMPLES[len(facts[0].size)], len(facts))
    # The middle of each of `count` parts of the set.
    for number in range(count):
        case = facts[(2 * number + 1) * len(facts) // (2 * count)].case
        yield View(case, next(iter(case.points.values()), None))


def _read_images(
    cases: Sequence[Case], schema: LandmarkSchema
) -> tuple[list[ImageFacts], list[Finding]]:
    facts, findings = [], []
    for case in progress.track(cases, "read images", transient=True):
        path = (str(case.image_path),)
        # Warnings, for example of the spacing of a detector, become notes.
        with reading_stored_pixels(), caught_notes() as notes:
            try:
                pairs = schema.pairs if count_fits(case, schema) else ()
                fact = read_image_facts(case, pairs)
            except (ValueError, OSError) as error:
                findings.append(Finding(ERROR, FILE, str(error), "", (case.id,), path))
                continue
        for text in notes:
            # The same sentence for all files, so that the notes are merged.
            what = text.replace(str(case.image_path), "The file")
            findings.append(Finding(NOTE, FILE, what, "", (case.id,), path))
        if fact.blank:
            what = "All pixels of the image are equal."
            views = (View(case),)
            findings.append(
                Finding(ERROR, BLANK, what, "", (case.id,), path, views=views)
            )
        facts.append(fact)
    return facts, findings


def _merge(findings: Iterable[Finding], count: int) -> Iterator[Finding]:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        key = finding.severity, finding.kind, finding.what
        groups.setdefault(key, []).append(finding)
    for group in groups.values():
        cases = tuple(sorted({id for finding in group for id in finding.cases}))
        limit = max(_MIN_MERGED, _MIN_MERGED_SHARE * count)
        if len(cases) <= limit or any(len(f.cases) != 1 for f in group):
            yield from group
            continue
        yield dataclasses.replace(
            group[0],
            detail=f"For example {group[0].cases[0]}: {group[0].detail}",
            cases=cases,
            files=tuple(dict.fromkeys(path for f in group for path in f.files)),
            landmarks=tuple(dict.fromkeys(n for f in group for n in f.landmarks)),
            views=tuple(view for f in group for view in f.views)[:_MAX_VIEWS],
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
