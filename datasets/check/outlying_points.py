from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.common_shape import CommonShape
from scn_keras.datasets.check.conditional_shape import MIN_GROUPS, ConditionalShape
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import LEFT_RIGHT
from scn_keras.landmark_schema import LandmarkSchema

MISPLACED = "far from prediction"
EXCHANGED = "exchanged landmarks"

# Six times the usual offset: 5 of 11,400 points of the cephalograms, all of which are
# on the wrong structure, and 6 of 33,670 of the hands.
LIMIT = 6.0
# A share of the shape's radius: 1.3 mm of a cephalogram, 2 mm of a hand. Where people
# or programs place landmarks very evenly, six times the usual is next to nothing.
_FLOOR = 0.03


def misplaced(
    annotations: Sequence[Annotation], schema: LandmarkSchema
) -> list[Finding]:
    """Finds single landmarks that are far from where all others predict them.

    A landmark whose offset from its prediction (see `ConditionalShape`) is more than
    six times that landmark's usual one is exchanged with each of the others in turn.
    If neither stands out then, and the worst of the shape is halved, these two have
    changed places: an error. Otherwise it was probably clicked wrong: a note. The
    next one is looked for without it. No note is made where another observer set the
    landmark in the same place, within half of the offset: the anatomy is unusual.

    Args:
        annotations: Sequence of `Annotation` whose coordinates mean what they should;
            of fewer than 10 patients nothing is found.
        schema: `LandmarkSchema`.
    """
    rows = [annotation for annotation in annotations if annotation.has_shape]
    groups = [a.case.group for a in rows]
    if len(set(groups)) < MIN_GROUPS:
        return []
    shape = CommonShape(np.stack([a.in_space(a.points) for a in rows]))
    model = ConditionalShape(shape.alignment.shapes, shape.points, groups, LIMIT)
    return [
        finding
        for row, annotation in enumerate(rows)
        for finding in _of_one(row, annotation, rows, shape, model, schema)
    ]


def _of_one(
    row: int,
    annotation: Annotation,
    rows: Sequence[Annotation],
    shape: CommonShape,
    model: ConditionalShape,
    schema: LandmarkSchema,
) -> Iterator[Finding]:
    deviations = model.deviations(row)
    scale = shape.alignment.scale[row]
    rotation = shape.alignment.rotation[row]
    others = [
        a
        for a in rows
        if a.facts is annotation.facts and a.feature != annotation.feature
    ]
    for _ in range(len(schema) // 3):
        surprise = np.nan_to_num(model.surprise(row, deviations))
        offsets = model.offsets(row, deviations)
        surprise[np.linalg.norm(offsets, axis=-1) < _FLOOR] = 0.0
        worst = int(surprise.argmax())
        if surprise[worst] <= LIMIT:
            return
        if (partner := _partner(row, worst, shape, model, deviations)) is not None:
            yield _exchanged(annotation, schema, worst, partner)
            deviations = _exchange(deviations, shape.points, worst, partner)
            continue
        # Offsets are of the aligned shape: back to mm, then to pixels of the image.
        offset = (offsets[worst] / scale) @ rotation.T
        if not any(_agrees(a, annotation, worst, offset) for a in others):
            yield _far(annotation, schema, worst, offset, surprise[worst])
        deviations[worst] = np.nan


def _partner(row, worst, shape, model, deviations):
    """The landmark with which the worst one has changed places, or None."""
    before = np.nanmax(model.surprise(row, deviations))
    best, partner = np.inf, None
    for other in np.flatnonzero(~np.isnan(deviations).any(axis=-1)):
        if other != worst:
            exchanged = _exchange(deviations, shape.points, worst, other)
            surprise = model.surprise(row, exchanged)
            after = np.nanmax(surprise)
            fits = surprise[[worst, other]].max() < LIMIT and after < 0.5 * before
            if fits and after < best:
                best, partner = after, int(other)
    return partner


def _exchange(deviations, mean, a, b):
    places = deviations + mean
    places[[a, b]] = places[[b, a]]
    return places - mean


def _agrees(other, annotation, landmark, offset):
    places = [a.in_space(a.points)[landmark] for a in (other, annotation)]
    return np.linalg.norm(places[0] - places[1]) < 0.5 * np.linalg.norm(offset)


def _exchanged(annotation, schema, a, b):
    first, second = sorted((a, b))
    names = schema.names[first], schema.names[second]
    pair = {first, second} in map(set, schema.pairs)
    points = annotation.points.copy()
    points[[a, b]] = points[[b, a]]
    return Finding(
        ERROR,
        LEFT_RIGHT if pair else EXCHANGED,
        f"{names[0]} and {names[1]} have changed places.",
        f"Points{annotation.observer}." if annotation.observer else "",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        names,
        (View(annotation.case, annotation.points, (first, second), points),),
    )


def _far(annotation, schema, landmark, offset, surprise):
    expected = np.full_like(annotation.points, np.nan)
    place = annotation.in_space(annotation.points)[landmark] - offset
    if annotation.calibrated:
        d = len(place)
        inverse = np.linalg.inv(annotation.facts.affine)
        place = inverse[:d, :d] @ place + inverse[:d, d]
    expected[landmark] = place
    return Finding(
        NOTE,
        MISPLACED,
        f"{schema.names[landmark]} is far from where the others predict it.",
        f"By {np.linalg.norm(offset):.1f} {annotation.unit}, {surprise:.0f} times as "
        f"much as is usual{annotation.observer and f'; points{annotation.observer}'}.",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        (schema.names[landmark],),
        (View(annotation.case, annotation.points, (landmark,), expected),),
    )
