import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.finding import ERROR, NOTE, Finding, View
from scn_keras.datasets.check.image_facts import ImageFacts
from scn_keras.datasets.check.labels import count_fits
from scn_keras.landmark_schema import LandmarkSchema

CODE = "code for missing"

_MIN_IMAGES = 3
_MAX_VIEWS = 4
# Positions are compared in thousandths of a pixel or millimetre.
_DIGITS = 3
# A position is far from those of a landmark in the other images if its distance from
# their median is more than four of their median distances, and five pixels.
_FAR, _FAR_PIXELS = 4.0, 5.0
# Landmarks in whole pixels coincide by chance, on average `expected` times. More than
# six times as many and three are a code.
_FACTOR, _OFFSET = 6.0, 3.0


@dataclasses.dataclass(frozen=True)
class _Points:
    """The points of all annotations in rows.

    Args:
        pixels: Array `(M, D)`.
        sizes: Array `(M, D)`, the sizes of their images.
        space: Array `(M, D)`, mm; NaN without a spacing.
        annotation: Int array `(M,)`, the annotation of each point.
        row: Int array `(M,)`, its landmark.
        image: Int array `(M,)`; images with equal annotations count as one.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    space: np.ndarray
    annotation: np.ndarray
    row: np.ndarray
    image: np.ndarray


def find_missing_codes(
    facts: Sequence[ImageFacts], schema: LandmarkSchema
) -> tuple[list[Finding], list[ImageFacts]]:
    """Finds exact positions that stand for missing landmarks.

    These are

    - the corners of the image, and those shifted by one pixel: `0, 0`, `-1, -1`,
      `1, 1`, the size of the image;
    - the origin of space, `0, 0, 0` mm;
    - any position that is repeated exactly in three or more images, either far from
      where the landmark is in the others, or more often than by chance.

    Repeated positions are counted from the upper left and from the lower right corner
    of the images, and in mm. In one image only, a corner is a note.

    Args:
        facts: Sequence of `ImageFacts`.
        schema: `LandmarkSchema`.

    Returns:
        A pair: the findings, and the facts without these points.
    """
    annotations = [
        Annotation(fact, feature)
        for fact in facts
        if count_fits(fact.case, schema)
        for feature in fact.case.points
    ]
    if not annotations:
        return [], list(facts)
    points = _collect(annotations)
    found: dict[str, np.ndarray] = {}
    taken = np.zeros(len(points.pixels), bool)
    for text, members in _candidates(points):
        members = members[~taken[members]]
        if len(members):
            taken[members] = True
            found[text] = np.concatenate([found.get(text, members[:0]), members])
    findings = [
        _finding(annotations, schema, text, points, members)
        for text, members in found.items()
    ]
    masked = {id(fact): fact for fact in facts}
    for index in np.unique(points.annotation[taken]):
        a, rows = annotations[index], points.row[taken & (points.annotation == index)]
        before = masked[id(a.facts)]
        masked[id(a.facts)] = before.without(a.feature, rows.tolist(), schema.pairs)
    return findings, [masked[id(fact)] for fact in facts]


def _collect(annotations: Sequence[Annotation]) -> _Points:
    image_of: dict[bytes, int] = {}
    pixels, sizes, space, annotation, row, image = [], [], [], [], [], []
    for index, a in enumerate(annotations):
        present = np.flatnonzero(~np.isnan(a.points).any(axis=-1))
        pixels.append(a.points[present])
        sizes.append(np.broadcast_to(np.array(a.facts.size), pixels[-1].shape))
        unknown = np.full(pixels[-1].shape, np.nan)
        space.append(a.in_space(pixels[-1]) if a.calibrated else unknown)
        annotation += [index] * len(present)
        row += present.tolist()
        # Copies of all points are another finding.
        number = image_of.setdefault(a.points.tobytes(), len(image_of))
        image += [number] * len(present)
    return _Points(
        np.concatenate(pixels),
        np.concatenate(sizes),
        np.concatenate(space),
        np.array(annotation),
        np.array(row),
        np.array(image),
    )


def _candidates(points: _Points) -> Iterator[tuple[str, np.ndarray]]:
    """Yields texts of positions and the points that are there."""
    low, high = points.pixels, points.pixels - (points.sizes - 1)
    near_low, near_high = (
        (np.abs(v) <= 1.0 + 1e-6) & (np.abs(v - np.rint(v)) < 1e-6) for v in (low, high)
    )
    for members in _equal(points.pixels, (near_low | near_high).all(axis=-1)):
        yield _text(points.pixels[members[0]], "px"), members
    origin = (np.abs(points.space) < 1e-6).all(axis=-1)
    if origin.any() and not (np.abs(low[origin]) < 1e-3).all():
        yield _text(np.zeros(low.shape[1]), "mm"), np.flatnonzero(origin)
    # Positions from the lower right, or in mm, differ only if sizes, or spacings, do.
    frames = [(low, "px"), (high, "px from the last one"), (points.space, "mm")]
    for values, unit in frames:
        known = ~np.isnan(values).any(axis=-1)
        for members in _equal(values, known):
            if _is_code(points, members):
                yield _text(values[members[0]], unit), members


def _equal(values: np.ndarray, mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the indices of equal rows of values, the most frequent first."""
    indices = np.flatnonzero(mask)
    if not len(indices):
        return
    rounded = np.round(values[indices], _DIGITS) + 0.0
    _, inverse, counts = np.unique(
        rounded, axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(inverse.reshape(-1), kind="stable")
    groups = np.split(indices[order], np.cumsum(counts)[:-1])
    yield from sorted(groups, key=lambda g: (-len(g), g[0]))


def _is_code(points: _Points, members: np.ndarray) -> bool:
    """Whether a position that occurs in several images is one by design."""
    if len(np.unique(points.image[members])) < _MIN_IMAGES:
        return False
    votes = 0
    for row in np.unique(points.row[members]):
        here = members[points.row[members] == row]
        is_other = points.row == row
        is_other[members] = False
        others = points.pixels[is_other]
        if len(others) < _MIN_IMAGES:
            continue
        count = len(np.unique(points.image[here]))
        center = np.median(others, axis=0)
        spread = float(np.median(np.linalg.norm(others - center, axis=-1)))
        distance = float(np.linalg.norm(points.pixels[here[0]] - center))
        is_far = distance > max(_FAR * spread, _FAR_PIXELS)
        # At the peak of a normal distribution, of which a whole pixel has 1/(2 pi s^2)
        # in 2D; the median distance is 1.18 s.
        expected = (len(others) + count) / max(4.5 * spread**2, 1.0)
        is_frequent = count > _FACTOR * expected + _OFFSET and spread > 1.0
        votes += len(here) if is_far or is_frequent else -len(here)
    return votes > 0


def _text(position: np.ndarray, unit: str) -> str:
    return f"{', '.join(f'{value + 0.0:.6g}' for value in position)} {unit}"


def _finding(
    annotations: Sequence[Annotation],
    schema: LandmarkSchema,
    text: str,
    points: _Points,
    members: np.ndarray,
) -> Finding:
    concerned = [annotations[i] for i in np.unique(points.annotation[members])]
    cases = tuple(dict.fromkeys(a.case.id for a in concerned))
    rows, counts = np.unique(points.row[members], return_counts=True)
    names = tuple(schema.names[row] for row in rows)
    numbers = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    more = ", ..." if len(numbers) > 10 else ""
    total = len({a.case.id for a in annotations})
    views = []
    for index in np.unique(points.annotation[members])[:_MAX_VIEWS]:
        a = annotations[index]
        chosen = points.row[members[points.annotation[members] == index]]
        views.append(View(a.case, a.points, tuple(chosen.tolist())))
    return Finding(
        ERROR if len(cases) > 1 else NOTE,
        CODE,
        f"Landmarks at exactly {text} are probably missing ones.",
        f"In {len(cases)} of {total} cases: {', '.join(numbers[:10])}{more}. Leave the "
        "positions of missing landmarks empty.",
        cases,
        tuple(dict.fromkeys(str(p) for a in concerned for p in a.case.points_paths)),
        names,
        tuple(views),
    )
