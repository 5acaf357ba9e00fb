from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import (
    Annotation,
    independent_annotations,
)
from scn_keras.datasets.check.common_shape import MIN_SHAPES, CommonShape
from scn_keras.datasets.check.conditional_shape import MIN_GROUPS
from scn_keras.datasets.check.coordinate_conventions import find_wrong_conventions
from scn_keras.datasets.check.finding import Finding
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.datasets.check.labels import find_coinciding_points
from scn_keras.datasets.check.landmark_groups import (
    find_landmark_groups,
    landmark_groups,
)
from scn_keras.datasets.check.outlying_points import find_outlying_points
from scn_keras.datasets.check.set_conventions import find_wrong_set_convention
from scn_keras.datasets.check.set_evidence import MIN_COMPARED
from scn_keras.datasets.check.shape_kinds import find_shape_kinds
from scn_keras.landmark_schema import LandmarkSchema


def check_points(
    facts: Sequence[ImageFacts], schema: LandmarkSchema
) -> tuple[list[Finding], list[str]]:
    """Checks what the points mean, and which of them differ from the others.

    Images with different landmarks are not compared with each other.

    Args:
        facts: Sequence of `ImageFacts`, without points that stand for missing ones.
        schema: `LandmarkSchema`.

    Returns:
        A pair: the findings, and a list of sentences on checks that were not possible.
    """
    annotations = independent_annotations(facts, schema)
    if not annotations:
        return [], []
    findings: list[Finding] = []
    cases = list({id(a.facts): a.case for a in annotations}.values())
    findings += find_coinciding_points(cases, schema)
    findings += find_landmark_groups(cases, schema)
    if (whole_set := find_wrong_set_convention(annotations)) is not None:
        what = "The shapes of the points, because the coordinates of the set are wrong."
        return [*findings, whole_set], [what]
    present = np.array([~np.isnan(a.points).any(axis=-1) for a in annotations])
    groups: list[list[Annotation]] = []
    for rows in landmark_groups(present.reshape(len(annotations), len(schema))):
        kinds, of_one_kind = find_shape_kinds([annotations[row] for row in rows])
        findings += kinds
        groups += of_one_kind
    for group in groups:
        findings += _check_group(group, schema)
    return findings, _not_tested(groups, schema)


def _check_group(
    annotations: Sequence[Annotation], schema: LandmarkSchema
) -> list[Finding]:
    """Checks annotations of the same landmarks."""
    comparable = [a for a in annotations if a.is_comparable]
    shape = None
    if _patients(comparable) >= MIN_SHAPES:
        shape = CommonShape(np.stack([a.in_space(a.points) for a in comparable]))
    findings = find_wrong_conventions(annotations, schema, shape)
    # Outliers in a case that is read wrongly would only repeat that.
    misread = {id for f in findings if len(f.cases) == 1 for id in f.cases}
    correct = [a for a in annotations if a.case.id not in misread]
    return [*findings, *find_outlying_points(correct, schema)]


def _patients(annotations: Iterable[Annotation]) -> int:
    return len({annotation.case.group for annotation in annotations})


def _not_tested(
    groups: Sequence[Sequence[Annotation]], schema: LandmarkSchema
) -> list[str]:
    """Sentences on checks for which there were too few images."""
    sentences = []
    total = sum(map(len, groups))
    if total < MIN_COMPARED:
        sentences.append(
            "Coordinates of the whole set (axes, origin, unit, size): at least "
            f"{MIN_COMPARED} annotated images are needed. Received: {total}."
        )
    d = groups[0][0].points.shape[-1]
    for group in groups:
        where = "" if len(groups) == 1 else f" like {group[0].case.id}"
        comparable = _patients(a for a in group if a.is_comparable)
        with_shape = _patients(a for a in group if a.has_shape)
        for patients, count, landmarks, what in (
            (comparable, MIN_SHAPES, 2 * d + 1, "Mirrored, turned and unusual shapes"),
            (with_shape, MIN_GROUPS, d + 2, "Exchanged and misplaced landmarks"),
        ):
            if patients < count:
                sentences.append(
                    f"{what} of single images: at least {count} patients{where} with "
                    f"{landmarks} or more landmarks are needed. Received: {patients}."
                )
        if with_shape >= MIN_GROUPS:
            sentences += _rare(group, schema)
    if not schema.pairs:
        sentences.append(
            "Exchange of all left and right landmarks of an image: the set has no "
            "`pairs`."
        )
    return sentences


def _rare(group: Sequence[Annotation], schema: LandmarkSchema) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for annotation in group:
        present = ~np.isnan(annotation.points).any(axis=-1) & annotation.has_shape
        counts.update(schema.names[row] for row in np.flatnonzero(present))
    rare = [f"{name} {count}" for name, count in counts.items() if count < MIN_GROUPS]
    if rare:
        more = ", ..." if len(rare) > 10 else ""
        yield (
            f"Exchanged and misplaced landmarks that fewer than {MIN_GROUPS} images "
            f"have: {', '.join(rare[:10])}{more}."
        )
