from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.common_shape import CommonShape
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import (
    LEFT_RIGHT,
    LPS_RAS,
    MIRRORED,
    SWAPPED_AXES,
    Reading,
    outside,
)
from scn_keras.landmark_schema import LandmarkSchema

OUTSIDE = "points outside"
TURNED = "turned"
STRANGE = "strange shape"

# Twice as much texture calls for another reading. Read wrongly, annotations of the real
# sets have more than that in 1 of 100 cases (mirrored films), usually a fifth to three
# quarters of what they have; so it is decisive of a set, and of a case with all else.
_BETTER = 2.0
# Less texture than this share of what is usual in the set calls for another reading.
# Of the real annotations 1 in 400 has less.
_EMPTY = 0.3
# Fewer annotations say nothing about a set by their texture alone.
_MIN_SET = 3


def placement(
    annotations: Sequence[Annotation],
    schema: LandmarkSchema,
    shape: CommonShape | None,
) -> list[Finding]:
    """Finds annotations whose coordinates mean something else than they should.

    Swapped axes, RAS for LPS, exchanged left/right pairs, mirrored and turned
    pictures, points outside of the image. Three kinds of evidence: how many points
    lie on the image, how much texture there is where they lie, and whether they have
    the shape, the handedness and the direction of the other cases. An annotation in
    which nothing of that is odd is not looked at further; of one that is odd, another
    reading is believed if it fits in everything. If one reading is better for at
    least half of all annotations and worse for at most a tenth, it is the set that is
    wrong: one finding, and no others.

    Args:
        annotations: Sequence of `Annotation`.
        schema: `LandmarkSchema`.
        shape: `CommonShape`, or None where there are too few cases for one.
    """
    if (whole := _whole_set(annotations)) is not None:
        return [whole]
    textures = [annotation.readings[0].texture for annotation in annotations]
    usual = float(np.nanmedian(textures)) if len(textures) >= _MIN_SET else 0.0
    return [
        finding
        for annotation in annotations
        for finding in _of_one(annotation, schema, shape, usual)
    ]


def _whole_set(annotations: Sequence[Annotation]) -> Finding | None:
    scores: dict[tuple[str, str], list[tuple[Annotation, Reading, int]]] = {}
    for annotation in annotations:
        as_is, *others = annotation.readings
        for reading in others:
            if reading.kind != LEFT_RIGHT:
                sign = _helps(as_is, reading) - _helps(reading, as_is)
                key = reading.kind, reading.what
                scores.setdefault(key, []).append((annotation, reading, sign))
    found = []
    for (kind, what), rows in scores.items():
        helped = sum(sign > 0 for *_, sign in rows)
        harmed = sum(sign < 0 for *_, sign in rows)
        brought_in = [a for a, r, _ in rows if r.inside > a.readings[0].inside]
        enough = len(rows) >= _MIN_SET or brought_in
        if enough and 2 * helped >= len(annotations) >= 10 * harmed:
            found.append((helped, kind, what, rows, brought_in))
    if not found:
        return None
    # The first of equals: they are in the order in which they are believed.
    helped, kind, what, rows, brought_in = max(found, key=lambda f: f[0])
    detail = f"So the points lie on more texture in {helped} of {len(rows)} annotations"
    if brought_in:
        detail += f", and no longer outside of the image in {len(brought_in)}"
    shown = [(a, r) for a, r, sign in rows if sign > 0]
    return Finding(
        ERROR if brought_in else NOTE,
        kind,
        f"In the whole set: {what}",
        f"{detail}.",
        tuple(dict.fromkeys(a.case.id for a, *_ in rows)),
        views=tuple(_view(a, r) for a, r in shown[:1]),
    )


def _helps(worse: Reading, better: Reading) -> bool:
    return (
        better.inside >= worse.inside
        and better.texture > _BETTER * worse.texture
        and (better.inside > worse.inside or better.texture > _EMPTY)
    )


def _of_one(
    annotation: Annotation,
    schema: LandmarkSchema,
    shape: CommonShape | None,
    usual: float,
) -> Iterator[Finding]:
    as_is, *others = annotation.readings
    distance, angle, far, turn = 0.0, 0.0, np.inf, np.inf
    if not annotation.has_shape:
        shape = None
    if shape is not None:
        far, turn = shape.max_distance, shape.max_angle
        distance, angle = shape.fit(annotation.in_space(as_is.points))
    off = outside(as_is.points, annotation.facts.size)
    odd = distance > far or angle > turn
    empty = as_is.texture < _EMPTY * usual
    if not (off.any() or odd or empty):
        return

    def believed(reading: Reading) -> bool:
        better = reading.texture >= _BETTER * as_is.texture
        if reading.inside < as_is.inside + 0.5 * (1.0 - as_is.inside):
            return False
        if not odd and not better:
            return False
        if not (odd or off.any()) and reading.texture < 0.5 * usual:
            return False
        if shape is None:
            return True
        near, turned = shape.fit(annotation.in_space(reading.points))
        return turned <= turn and near <= (0.5 * distance if distance > far else far)

    fitting = [reading for reading in others if believed(reading)]
    # Turned by 180° about z is RAS for LPS, unless the picture was turned as well.
    explained = {reading.kind for reading in fitting} - {LPS_RAS}
    if explained or any(reading.texture > as_is.texture for reading in fitting):
        yield _misread(annotation, fitting)
    elif off.any():
        yield _outside(annotation, schema, off)
    elif angle > turn:
        yield _finding(
            annotation,
            NOTE,
            TURNED,
            "The picture and its points are turned against the others.",
            f"By {np.degrees(angle):.0f}°.",
        )
    elif distance > 2.0 * far:
        yield _finding(
            annotation,
            NOTE,
            STRANGE,
            "The points do not have the shape of the others.",
            f"They are {3.0 * distance / far:.0f} times as far from it as is usual.",
        )


def _misread(annotation: Annotation, fitting: Sequence[Reading]) -> Finding:
    as_is = annotation.readings[0]
    best = max(fitting, key=lambda reading: reading.texture)
    d = as_is.points.shape[-1]
    if best.texture > as_is.texture:
        off = round((1.0 - as_is.inside) * np.isfinite(as_is.points).all(-1).sum())
        detail = "So they lie where there is something to see"
        detail += f", and {off} fewer outside." if off else "."
        return _finding(annotation, ERROR, best.kind, best.what, detail, best)
    for reading in fitting:
        if reading.kind == LEFT_RIGHT:
            detail = "So they have the shape of the others."
            return _finding(
                annotation, ERROR, LEFT_RIGHT, reading.what, detail, reading
            )
    # The points lie better on the picture as they are: it was changed with them.
    kinds = {reading.kind for reading in fitting}
    what = "The points are mirrored, and so is probably their picture."
    if MIRRORED not in kinds:
        axes = next(r.what for r in fitting if r.kind == SWAPPED_AXES)
        what = f"{axes} So they probably are in the picture."
    # A film may face the other way. A body has no mirror image.
    severity = NOTE if d == 2 else ERROR
    kind = MIRRORED if MIRRORED in kinds else SWAPPED_AXES
    return _finding(annotation, severity, kind, what)


def _outside(
    annotation: Annotation, schema: LandmarkSchema, off: np.ndarray
) -> Finding:
    points = annotation.points
    past = np.maximum(-points, points - (np.array(annotation.facts.size) - 1))[off]
    names = tuple(schema.names[i] for i in np.flatnonzero(off))
    return Finding(
        ERROR,
        OUTSIDE,
        "Points lie outside of the image.",
        f"{', '.join(names)}{annotation.observer}: up to {past.max():.0f} px.",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        names,
        (View(annotation.case, points, tuple(np.flatnonzero(off).tolist())),),
    )


def _finding(annotation, severity, kind, what, detail="", reading=None):
    who = f"Points{annotation.observer}." if annotation.observer else ""
    return Finding(
        severity,
        kind,
        what,
        f"{who} {detail}".strip(),
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        views=(_view(annotation, reading),),
    )


def _view(annotation, reading=None):
    expected = None if reading is None else reading.points
    return View(annotation.case, annotation.points, expected=expected)
