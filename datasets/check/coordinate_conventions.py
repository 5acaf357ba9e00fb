from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.common_shape import CommonShape
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import (
    BETTER,
    LEFT_RIGHT,
    LPS_RAS,
    MIN_ANNOTATIONS,
    MIN_TEXTURE,
    MIRRORED,
    SWAPPED_AXES,
    Reading,
    outside,
)
from scn_keras.datasets.check.set_conventions import are_fractions
from scn_keras.datasets.check.set_readings import RELATIVE
from scn_keras.landmark_schema import LandmarkSchema

OUTSIDE = "points outside"
TURNED = "turned"
STRANGE = "strange shape"


def find_wrong_conventions(
    annotations: Sequence[Annotation],
    schema: LandmarkSchema,
    shape: CommonShape | None,
) -> list[Finding]:
    """Finds annotations whose coordinates follow another convention than they should.

    Swapped axes, RAS for LPS, exchanged left/right pairs, mirrored and rotated
    pictures, points outside of the image. The criteria are the share of the points on
    the image, the texture at the points, and whether they have the shape, handedness
    and orientation of the other cases. An annotation that meets all of them is not
    examined further. For any other, another reading is accepted if it meets them.

    Args:
        annotations: Sequence of `Annotation`.
        schema: `LandmarkSchema`.
        shape: `CommonShape`; None if there are too few cases for one.
    """
    findings = []
    # Also of one image, whatever it shows.
    relative = [a for a in annotations if a.has_shape and are_fractions([a])]
    for annotation in relative:
        what = "The points are fractions of the size of the image, 0 to 1."
        advice = "Multiply them by the size of the image along each axis."
        findings.append(_finding(annotation, ERROR, RELATIVE, what, advice))
    annotations = [a for a in annotations if a not in relative]
    typical = 0.0
    if len(annotations) >= MIN_ANNOTATIONS:
        typical = float(np.nanmedian([a.readings[0].texture for a in annotations]))
    return findings + [
        finding
        for annotation in annotations
        for finding in _Criteria(
            annotation, shape if annotation.is_comparable else None, typical
        ).findings(schema)
    ]


class _Criteria:
    """The criteria of `find_wrong_conventions` for one annotation.

    Args:
        annotation: `Annotation`.
        shape: `CommonShape`, or None if the annotation cannot be compared with one.
        typical_texture: Float, the median texture of the set.
    """

    def __init__(
        self, annotation: Annotation, shape: CommonShape | None, typical_texture: float
    ) -> None:
        self.annotation, self.shape = annotation, shape
        self.typical_texture = typical_texture
        self.as_is, *self.others = annotation.readings
        self.distance, self.angle = 0.0, 0.0
        self.max_distance, self.max_angle = np.inf, np.inf
        if shape is not None:
            self.max_distance, self.max_angle = shape.max_distance, shape.max_angle
            in_space = annotation.in_space(self.as_is.points)
            self.distance, self.angle = shape.fit(in_space)
        self.outside = outside(self.as_is.points, annotation.facts.size)
        self.has_other_shape = (
            self.distance > self.max_distance or self.angle > self.max_angle
        )

    def findings(self, schema: LandmarkSchema) -> Iterator[Finding]:
        annotation = self.annotation
        empty = self.as_is.texture < MIN_TEXTURE * self.typical_texture
        if not (self.outside.any() or self.has_other_shape or empty):
            return
        accepted = [reading for reading in self.others if self._is_accepted(reading)]
        # A rotation by 180° about z is RAS for LPS, unless the picture was rotated too.
        kinds = {reading.kind for reading in accepted} - {LPS_RAS}
        if kinds or any(r.texture > self.as_is.texture for r in accepted):
            yield _misread(annotation, accepted)
        elif self.outside.any():
            yield _outside(annotation, schema, self.outside)
        elif self.angle > self.max_angle:
            what = "The image and its points are rotated relative to the others."
            detail = f"By {np.degrees(self.angle):.0f}°."
            yield _finding(annotation, NOTE, TURNED, what, detail)
        elif self.distance > 2.0 * self.max_distance:
            what = "The points do not have the shape of the others."
            times = 3.0 * self.distance / self.max_distance
            detail = f"The distance from it is {times:.0f} times the usual one."
            yield _finding(annotation, NOTE, STRANGE, what, detail)

    def _is_accepted(self, reading: Reading) -> bool:
        """Whether a reading meets the criteria better than the points as they are."""
        as_is = self.as_is
        if reading.inside < as_is.inside + 0.5 * (1.0 - as_is.inside):
            return False
        better = reading.texture >= BETTER * as_is.texture
        if not self.has_other_shape and not better:
            return False
        suspicious = self.has_other_shape or self.outside.any()
        if not suspicious and reading.texture < 0.5 * self.typical_texture:
            return False
        if self.shape is None:
            return True
        distance, angle = self.shape.fit(self.annotation.in_space(reading.points))
        limit = self.max_distance
        if self.distance > self.max_distance:
            limit = 0.5 * self.distance
        return angle <= self.max_angle and distance <= limit


def _misread(annotation: Annotation, accepted: Sequence[Reading]) -> Finding:
    as_is = annotation.readings[0]
    best = max(accepted, key=lambda reading: reading.texture)
    d = as_is.points.shape[-1]
    if best.texture > as_is.texture:
        count = np.isfinite(as_is.points).all(-1).sum()
        detail = "The points then lie on image structure"
        outside_count = round((1.0 - as_is.inside) * count)
        detail += f", and {outside_count} fewer outside." if outside_count else "."
        return _finding(annotation, ERROR, best.kind, best.what, detail, best)
    for reading in accepted:
        if reading.kind == LEFT_RIGHT:
            detail = "The points then have the shape of the others."
            return _finding(
                annotation, ERROR, LEFT_RIGHT, reading.what, detail, reading
            )
    # The points fit the picture better as they are: it was changed with them.
    kinds = {reading.kind for reading in accepted}
    what = "The points are mirrored, and probably the image as well."
    if MIRRORED not in kinds:
        axes = next(r.what for r in accepted if r.kind == SWAPPED_AXES)
        what = f"{axes} Probably they are in the image as well."
    # A film may face the other way. A body has no mirror image.
    severity = NOTE if d == 2 else ERROR
    kind = MIRRORED if MIRRORED in kinds else SWAPPED_AXES
    return _finding(annotation, severity, kind, what)


def _outside(
    annotation: Annotation, schema: LandmarkSchema, mask: np.ndarray
) -> Finding:
    points = annotation.points
    past = np.maximum(-points, points - (np.array(annotation.facts.size) - 1))[mask]
    rows = tuple(np.flatnonzero(mask).tolist())
    names = tuple(schema.names[row] for row in rows)
    return Finding(
        ERROR,
        OUTSIDE,
        "Points lie outside of the image.",
        f"{', '.join(names)}{annotation.observer}: up to {past.max():.0f} px.",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        names,
        (View(annotation.case, points, rows),),
    )


def _finding(
    annotation: Annotation,
    severity: str,
    kind: str,
    what: str,
    detail: str = "",
    reading: Reading | None = None,
) -> Finding:
    observer = f"Points{annotation.observer}." if annotation.observer else ""
    return Finding(
        severity,
        kind,
        what,
        f"{observer} {detail}".strip(),
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        views=(_view(annotation, reading),),
    )


def _view(annotation: Annotation, reading: Reading | None = None) -> View:
    expected = None if reading is None else reading.points
    return View(annotation.case, annotation.points, expected=expected)
