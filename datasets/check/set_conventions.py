import dataclasses
from collections.abc import Sequence

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import (
    BETTER,
    LEFT_RIGHT,
    MIN_ANNOTATIONS,
    MIN_TEXTURE,
    Reading,
)


@dataclasses.dataclass
class _SetReading:
    """A reading other than as it is, for all annotations of a set."""

    kind: str
    what: str
    rows: list[tuple[Annotation, Reading]]
    better: list[tuple[Annotation, Reading]]
    worse: int

    @property
    def moved_inside(self) -> int:
        """The number of annotations of which more points lie on the image."""
        return sum(r.inside > a.readings[0].inside for a, r in self.rows)


def find_wrong_set_convention(annotations: Sequence[Annotation]) -> Finding | None:
    by_reading: dict[tuple[str, str], _SetReading] = {}
    for annotation in annotations:
        as_is, *others = annotation.readings
        for reading in others:
            if reading.kind != LEFT_RIGHT:
                key = reading.kind, reading.what
                entry = by_reading.setdefault(key, _SetReading(*key, [], [], 0))
                entry.rows.append((annotation, reading))
                if _is_better(reading, as_is):
                    entry.better.append((annotation, reading))
                entry.worse += _is_better(as_is, reading)
    candidates = [
        entry
        for entry in by_reading.values()
        if (len(entry.rows) >= MIN_ANNOTATIONS or entry.moved_inside)
        and 2 * len(entry.better) >= len(annotations) >= 10 * entry.worse
    ]
    if not candidates:
        return None
    # The first of equals, since readings are in order of preference.
    best = max(candidates, key=lambda entry: len(entry.better))
    detail = (
        f"The points then lie on more texture in {len(best.better)} of "
        f"{len(best.rows)} annotations"
    )
    if best.moved_inside:
        detail += f", and no longer outside of the image in {best.moved_inside}"
    return Finding(
        ERROR if best.moved_inside else NOTE,
        best.kind,
        f"In the whole set: {best.what}",
        f"{detail}.",
        tuple(dict.fromkeys(annotation.case.id for annotation, _ in best.rows)),
        views=tuple(
            View(a.case, a.points, expected=r.points) for a, r in best.better[:1]
        ),
    )


def _is_better(reading: Reading, other: Reading) -> bool:
    return (
        reading.inside >= other.inside
        and reading.texture > BETTER * other.texture
        and (reading.inside > other.inside or reading.texture > MIN_TEXTURE)
    )
