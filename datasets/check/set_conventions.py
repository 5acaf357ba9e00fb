from collections.abc import Iterable, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.reading import MIN_ANNOTATIONS
from scn_keras.datasets.check.set_evidence import Evidence, SetEvidence
from scn_keras.datasets.check.set_readings import (
    RELATIVE,
    SCALES,
    SetReading,
    scaled,
    set_readings,
)

CORNER = "points in a corner"

# Annotations that are compared, evenly chosen, so that the time does not grow.
_MAX_ANNOTATIONS = 120
# Points whose surroundings resemble each other as much are not scaled.
_MAX_SCALED_SCORE = 0.1
# A usual factor is preferred to one that fits as well.
_MIN_SCALED_GAIN = 1.15
_FACTORS = tuple(np.geomspace(0.1, 10.0, 49).tolist())


def find_wrong_set_convention(annotations: Sequence[Annotation]) -> Finding | None:
    """Finds an error that the coordinates of all annotations have.

    Each reading of `set_readings` is compared with the points as they are. It is
    accepted if no more points are outside of the images, and

    - the surroundings of the landmarks resemble each other more (`appearance_scores`),
      or
    - the points lie on more contrast: on average 1.5 times as much, or twice as much
      in at least half of all annotations and half as much in at most a tenth.

    Points between 0 and 1 are relative coordinates whatever the images show. If no
    reading is accepted, or one of another scale, all scales from 0.1 to 10 are tried.
    Points that are all in one corner of the images are a note.

    Args:
        annotations: Sequence of `Annotation`.

    Returns:
        `Finding` of the best reading; None if the points as they are fit.
    """
    if not annotations:
        return None
    step = -(-len(annotations) // _MAX_ANNOTATIONS)
    chosen = annotations[::step]
    readings = _readings(chosen)
    if are_fractions(annotations):
        (rows, *_) = (rows for rows in readings if rows[0].kind == RELATIVE)
        values = np.concatenate([a.points for a in annotations])
        low, high = np.nanmin(values), np.nanmax(values)
        detail = f"All values are from {low:.3g} to {high:.3g}."
        return _finding(annotations, chosen, rows, ERROR, detail)
    if len(chosen) < MIN_ANNOTATIONS:
        return None
    compared = SetEvidence(chosen)
    accepted = _accepted(compared, readings)
    # The first of equals, since readings are in order of preference.
    best = max(accepted, key=lambda e: round(e.strength, 1), default=None)
    is_other_scale = best is None or not best.looks_alike or best.kind in SCALES
    if is_other_scale and compared.score < _MAX_SCALED_SCORE:
        scales = ([scaled(a, f) for a in chosen] for f in _FACTORS)
        found = [e for e in _accepted(compared, scales) if e.looks_alike]
        other = max(found, key=lambda e: e.strength, default=None)
        least = _MIN_SCALED_GAIN * best.strength if best is not None else 0.0
        if other is not None and other.strength > least:
            best = other
    if best is None:
        return _corner(annotations)
    alike = [e for e in accepted if _same_points(e.readings, best.readings)]
    others = [e.readings[0].what for e in alike if e is not best]
    detail = _detail(best, compared.score)
    detail += f" Or: {' '.join(others)}" if others else ""
    severity = ERROR if best.looks_alike or best.moved_inside else NOTE
    return _finding(annotations, chosen, best.readings, severity, detail)


def _readings(annotations: Sequence[Annotation]) -> list[list[SetReading]]:
    by_what: dict[str, list[SetReading]] = {}
    for annotation in annotations:
        for reading in set_readings(annotation):
            by_what.setdefault(reading.what, []).append(reading)
    as_is = [SetReading("", "", a.points, "") for a in annotations]
    # Readings of some annotations only, for example of those with a spacing, and those
    # that change nothing are not compared.
    return [
        rows
        for rows in by_what.values()
        if len(rows) == len(annotations) and not _same_points(rows, as_is)
    ]


def _accepted(
    compared: SetEvidence, readings: Iterable[list[SetReading]]
) -> list[Evidence]:
    evidence = [compared.of(rows) for rows in readings]
    return [e for e in evidence if e is not None]


def are_fractions(annotations: Sequence[Annotation]) -> bool:
    """Returns whether all points are between 0 and 1 and the images are larger.

    Args:
        annotations: Sequence of `Annotation` with at least one point.
    """
    values = np.concatenate([a.points for a in annotations])
    values = values[~np.isnan(values)]
    smallest = min(min(a.facts.size) for a in annotations)
    if values.min() < 0.0 or values.max() > 1.0 or smallest <= 8:
        return False
    return not np.all(values == np.rint(values))


def _same_points(rows: Sequence[SetReading], others: Sequence[SetReading]) -> bool:
    """Whether two readings agree, up to the shift between edges and centres."""
    return all(
        np.nanmax(np.abs(a.points - b.points)) <= 1.5
        for a, b in zip(rows, others, strict=True)
    )


def _detail(best: Evidence, as_is: float) -> str:
    if best.looks_alike:
        detail = (
            "The surroundings of the landmarks then look alike from image to image "
            f"(mean correlation {best.score:.2f}, as they are {as_is:.2f})"
        )
    else:
        detail = (
            f"The points then lie on {best.contrast_ratio:.1f} times as much texture"
        )
    if best.moved_inside:
        detail += f", and no longer outside of the image in {best.moved_inside}"
        detail += f" of {len(best.readings)} annotations"
    return f"{detail}."


def _corner(annotations: Sequence[Annotation]) -> Finding | None:
    """A note if the points of all images are in the same quarter of them."""
    relative = np.concatenate([(a.points + 0.5) / a.facts.size for a in annotations])
    low, high = np.nanmin(relative, axis=0), np.nanmax(relative, axis=0)
    if not ((high <= 0.5) | (low >= 0.5)).all():
        return None
    ranges = [
        f"{axis} {100 * a:.0f} to {100 * b:.0f} %"
        for axis, a, b in zip("xyz", low, high, strict=False)
    ]
    return Finding(
        NOTE,
        CORNER,
        "In the whole set: all points lie in one corner of the images.",
        f"{', '.join(ranges)} of their size. Are they pixels of these images, and not "
        "of smaller ones, mm, cm or percent?",
        tuple(dict.fromkeys(a.case.id for a in annotations)),
        views=tuple(View(a.case, a.points) for a in annotations[:2]),
    )


def _finding(
    annotations: Sequence[Annotation],
    chosen: Sequence[Annotation],
    readings: Sequence[SetReading],
    severity: str,
    detail: str,
) -> Finding:
    first = readings[0]
    return Finding(
        severity,
        first.kind,
        f"In the whole set: {first.what}",
        f"{detail} {first.advice}",
        tuple(dict.fromkeys(annotation.case.id for annotation in annotations)),
        views=(View(chosen[0].case, chosen[0].points, expected=first.points),),
    )
