from collections.abc import Sequence

import numpy as np

from scn_keras.datasets.check.alignment import align_shapes
from scn_keras.datasets.check.annotation import Annotation
from scn_keras.datasets.check.finding import NOTE, Finding, View
from scn_keras.datasets.check.landmark_groups import GROUPS

# Shapes that are compared in pairs, evenly chosen.
_MAX_SHAPES = 40
_MIN_SHAPES = 8
# A kind has at least three of them and this share.
_MIN_KIND, _MIN_SHARE = 3, 0.15
# The sum of distances to one shape relative to that to the nearer one of two, and the
# distance of these two relative to the usual distance of a shape from the nearer one.
# The published sets have at most 1.5 and 2.4, a set with half of it mirrored at least
# 5.6 and 10.
_MIN_RATIO, _MIN_DISTANCE = 3.0, 5.0


def find_shape_kinds(
    annotations: Sequence[Annotation],
) -> tuple[list[Finding], list[list[Annotation]]]:
    """Finds sets whose shapes are of two kinds, for example two views or two sides.

    Single shapes that differ from the others are no kind.

    Args:
        annotations: Sequence of `Annotation` with landmarks in common.

    Returns:
        A pair: the findings, and the annotations in groups of one kind.
    """
    rows = [a for a in annotations if a.has_shape]
    whole = [list(annotations)]
    if len(rows) < _MIN_SHAPES:
        return [], whole
    chosen = rows[:: -(-len(rows) // _MAX_SHAPES)]
    shapes = np.stack([_normalized(a) for a in chosen])
    distances = _distances(shapes)
    pair = _two_medoids(distances)
    if pair is None:
        return [], whole
    a, b = pair
    nearer = np.minimum(distances[a], distances[b])
    usual = float(np.median(np.delete(nearer, pair)))
    if distances.sum(axis=1).min() < _MIN_RATIO * nearer.sum():
        return [], whole
    if distances[a, b] < _MIN_DISTANCE * usual:
        return [], whole
    all_shapes = np.stack([_normalized(row) for row in rows])
    to_a, to_b = (align_shapes(all_shapes, shapes[n], 4).distance for n in pair)
    second = to_b < to_a
    groups = [
        [row for row, is_second in zip(rows, second, strict=True) if is_second == kind]
        for kind in (False, True)
    ]
    # Annotations without a shape are only checked for points outside of the image.
    groups[0] += [x for x in annotations if not x.has_shape]
    mirrored = shapes[b].copy()
    mirrored[:, 0] *= -1.0
    is_mirrored = align_shapes(mirrored[None], shapes[a], 4).distance[0]
    return [_finding(chosen, pair, second, is_mirrored < 0.5 * distances[a, b])], groups


def _distances(shapes: np.ndarray) -> np.ndarray:
    table = np.stack([align_shapes(shapes, shape, 4).distance for shape in shapes])
    table = np.fmin(table, table.T)
    largest = np.nanmax(table)
    return np.nan_to_num(table, nan=largest if np.isfinite(largest) else 0.0)


def _two_medoids(distances: np.ndarray) -> tuple[int, int] | None:
    """The two shapes to the nearer one of which all are nearest."""
    count = len(distances)
    smallest = max(_MIN_KIND, _MIN_SHARE * count)
    best, pair = np.inf, None
    for a in range(count):
        for b in range(a + 1, count):
            size = int((distances[a] <= distances[b]).sum())
            cost = float(np.minimum(distances[a], distances[b]).sum())
            if cost < best and min(size, count - size) >= smallest:
                best, pair = cost, (a, b)
    return pair


def _normalized(annotation: Annotation) -> np.ndarray:
    """A shape in space, centred and of a root mean square radius of 1."""
    shape = annotation.in_space(annotation.points)
    shape = shape - np.nanmean(shape, axis=0)
    return shape / np.sqrt(np.nanmean(np.square(shape).sum(axis=-1)))


def _finding(
    chosen: Sequence[Annotation],
    pair: tuple[int, int],
    second: np.ndarray,
    is_mirrored: bool,
) -> Finding:
    a, b = (chosen[n] for n in pair)
    counts = [int((~second).sum()), int(second.sum())]
    if is_mirrored:
        what = "The shapes of some cases are the mirror images of the others."
        advice = (
            "Are these left and right sides, or do the coordinates of some files have "
            "another origin? Mirror the images of one kind with their points, or "
            "correct the points."
        )
    else:
        what = "The shapes of the cases are of two kinds."
        advice = (
            "If these are two views or two kinds of images, prepare them as two data "
            "sets; otherwise the order or the names of the landmarks differ."
        )
    return Finding(
        NOTE,
        GROUPS,
        what,
        f"{counts[0]} are like {a.case.id}, {counts[1]} like {b.case.id}. {advice}",
        (a.case.id, b.case.id),
        tuple(str(p) for x in (a, b) for p in x.case.points_paths),
        views=(View(a.case, a.points), View(b.case, b.points)),
    )
