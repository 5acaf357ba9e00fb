import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.common_shape import CommonShape
from scn_keras.datasets.check.conditional_shape import MIN_GROUPS, ConditionalShape
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import LEFT_RIGHT
from scn_keras.landmark_schema import LandmarkSchema

OUTLYING = "far from prediction"
EXCHANGED = "exchanged landmarks"

# Six times the typical offset: 5 of 11,400 points of the cephalograms, all of which are
# on the wrong structure, and 6 of 33,670 of the hands.
LIMIT = 6.0
# A share of the shape's radius: 1.3 mm of a cephalogram, 2 mm of a hand. Where people
# or programs place landmarks very evenly, six times the typical offset is negligible.
_MIN_OFFSET = 0.03


def find_outlying_points(
    annotations: Sequence[Annotation], schema: LandmarkSchema
) -> list[Finding]:
    """Finds single landmarks that are far from their prediction by all others.

    A landmark is an outlier if its offset from the prediction (see `ConditionalShape`)
    exceeds six times the typical offset of that landmark. It is exchanged with each of
    the other landmarks in turn. If neither is an outlier then, and the largest
    deviation of the shape is halved, the two are exchanged: an error. Otherwise it was
    probably misplaced: a note. The search continues without it. No note is made where
    another observer placed the landmark at the same position, within half of the
    offset: the anatomy is unusual.

    Args:
        annotations: Sequence of `Annotation` with correct coordinate conventions; with
            fewer than 10 patients nothing is found.
        schema: `LandmarkSchema`.
    """
    rows = [annotation for annotation in annotations if annotation.has_shape]
    groups = [annotation.case.group for annotation in rows]
    if len(set(groups)) < MIN_GROUPS:
        return []
    shape = CommonShape(np.stack([a.in_space(a.points) for a in rows]))
    model = ConditionalShape(shape.alignment.shapes, shape.points, groups, LIMIT)
    search = _Search(tuple(rows), schema, shape, model)
    return [finding for row in range(len(rows)) for finding in search.findings(row)]


@dataclasses.dataclass(frozen=True)
class _Search:
    """The search for outliers in a set, see `find_outlying_points`."""

    annotations: tuple[Annotation, ...]
    schema: LandmarkSchema
    shape: CommonShape
    model: ConditionalShape

    def findings(self, row: int) -> Iterator[Finding]:
        annotation, model = self.annotations[row], self.model
        residuals = model.residuals(row)
        scale = self.shape.alignment.scale[row]
        rotation = self.shape.alignment.rotation[row]
        for _ in range(len(self.schema) // 3):
            deviation = np.nan_to_num(model.deviation(row, residuals))
            offsets = model.offsets(row, residuals)
            deviation[np.linalg.norm(offsets, axis=-1) < _MIN_OFFSET] = 0.0
            worst = int(deviation.argmax())
            if deviation[worst] <= LIMIT:
                return
            if (partner := self._partner(row, worst, residuals)) is not None:
                yield _exchanged(annotation, self.schema, worst, partner)
                residuals = self._exchange(residuals, worst, partner)
                continue
            # Offsets are those of the aligned shape: back to the shape in space.
            offset = (offsets[worst] / scale) @ rotation.T
            if not self._is_confirmed(row, worst, offset):
                yield _outlying(
                    annotation, self.schema, worst, offset, deviation[worst]
                )
            residuals[worst] = np.nan

    def _partner(self, row: int, worst: int, residuals: np.ndarray) -> int | None:
        """The landmark with which the worst one was exchanged, or None."""
        before = np.nanmax(self.model.deviation(row, residuals))
        smallest, partner = np.inf, None
        for other in np.flatnonzero(~np.isnan(residuals).any(axis=-1)).tolist():
            if other != worst:
                exchanged = self._exchange(residuals, worst, other)
                deviation = self.model.deviation(row, exchanged)
                after = np.nanmax(deviation)
                fits = deviation[[worst, other]].max() < LIMIT and after < 0.5 * before
                if fits and after < smallest:
                    smallest, partner = after, other
        return partner

    def _exchange(self, residuals: np.ndarray, a: int, b: int) -> np.ndarray:
        points = residuals + self.shape.points
        points[[a, b]] = points[[b, a]]
        return points - self.shape.points

    def _is_confirmed(self, row: int, landmark: int, offset: np.ndarray) -> bool:
        """Whether another observer of the image placed the landmark likewise."""
        annotation = self.annotations[row]
        position = annotation.in_space(annotation.points)[landmark]
        for other in self.annotations:
            if (
                other.case.id == annotation.case.id
                and other.feature != annotation.feature
            ):
                distance = other.in_space(other.points)[landmark] - position
                if np.linalg.norm(distance) < 0.5 * np.linalg.norm(offset):
                    return True
        return False


def _exchanged(
    annotation: Annotation, schema: LandmarkSchema, a: int, b: int
) -> Finding:
    first, second = sorted((a, b))
    names = schema.names[first], schema.names[second]
    is_pair = {first, second} in map(set, schema.pairs)
    points = annotation.points.copy()
    points[[a, b]] = points[[b, a]]
    return Finding(
        ERROR,
        LEFT_RIGHT if is_pair else EXCHANGED,
        f"{names[0]} and {names[1]} are exchanged.",
        f"Points{annotation.observer}." if annotation.observer else "",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        names,
        (View(annotation.case, annotation.points, (first, second), points),),
    )


def _outlying(
    annotation: Annotation,
    schema: LandmarkSchema,
    landmark: int,
    offset: np.ndarray,
    deviation: float,
) -> Finding:
    position = annotation.in_space(annotation.points)[landmark] - offset
    if annotation.calibrated:
        d = len(position)
        inverse = np.linalg.inv(annotation.facts.affine)
        position = inverse[:d, :d] @ position + inverse[:d, d]
    expected = np.full_like(annotation.points, np.nan)
    expected[landmark] = position
    return Finding(
        NOTE,
        OUTLYING,
        f"{schema.names[landmark]} is far from where the others predict it.",
        f"By {np.linalg.norm(offset):.1f} {annotation.unit}, {deviation:.0f} times "
        f"the usual offset{annotation.observer and f'; points{annotation.observer}'}.",
        (annotation.case.id,),
        tuple(map(str, annotation.case.points_paths)),
        (schema.names[landmark],),
        (View(annotation.case, annotation.points, (landmark,), expected),),
    )
