"""Positions of names beside their points, so that they can be read."""

import numpy as np

# Candidates: directions around the point, and distances from it in heights of a line.
_ANGLES = np.arange(16) * np.pi / 8.0
_DISTANCES = np.array([0.0, 0.8, 1.8, 3.2, 5.0, 8.0])
# Costs, relative to that of a distance of one line from the point.
_OUTSIDE, _OVERLAP, _COVERED, _BESIDE, _CROSSED = 40.0, 15.0, 4.0, 0.6, 2.0
_SWEEPS = 4


def label_positions(
    points: np.ndarray, sizes: np.ndarray, area: tuple[float, float], gaps: np.ndarray
) -> tuple[np.ndarray, float]:
    """Returns positions of labels that cover few points and few other labels.

    Each label has candidates around its point. One label after the other takes the
    candidate of the smallest cost, several times over. The result is deterministic.

    Args:
        points: Array `(N, 2)`, x, y in pixels.
        sizes: Array `(N, 2)`, the widths and heights of the labels in pixels.
        area: Tuple of two floats, the width and height in which labels should be.
        gaps: Array `(N,)`, the least distances of the labels from their points.

    Returns:
        The centres of the labels `(N, 2)`, and the largest part of a label that cannot
        be read, because it is outside or others cover it, from 0 to 1.

    Example:

    >>> points = np.array([[50.0, 50.0], [52.0, 50.0]])
    >>> sizes, gaps = np.full((2, 2), 20.0), np.full(2, 4.0)
    >>> centers, covered = label_positions(points, sizes, (99, 99), gaps)
    >>> bool(abs(centers[0] - centers[1]).max() >= 20.0), covered
    (True, 0.0)
    """
    count = len(points)
    candidates = [_candidates(points[n], sizes[n], gaps[n]) for n in range(count)]
    fixed = [
        _fixed_costs(candidates[n], points, sizes[n], area, n) for n in range(count)
    ]
    centers = np.full((count, 2), np.nan)
    # Labels in a crowd first: they have the fewest free candidates.
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    reach = 4.0 * sizes.max(initial=1.0)
    order = np.argsort(-(distances < reach).sum(axis=1), kind="stable")
    for _ in range(_SWEEPS):
        before = centers.copy()
        for n in order:
            others = np.arange(count) != n
            placed = others & ~np.isnan(centers).any(axis=-1)
            cost = fixed[n] + _mutual_costs(
                candidates[n], points[n], sizes[n], centers, sizes, points, placed
            )
            centers[n] = candidates[n][np.argmin(cost)]
        if np.array_equal(centers, before):
            break
    covered = [_covered(n, centers, sizes, points, area) for n in range(count)]
    return centers, min(max(covered, default=0.0), 1.0)


def leader(point: np.ndarray, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns the line `(2, 2)` from a point to the nearest part of its label."""
    return np.stack([point, np.clip(point, center - size / 2, center + size / 2)])


def _candidates(point: np.ndarray, size: np.ndarray, gap: float) -> np.ndarray:
    directions = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)
    distances = gap + _DISTANCES * size[1]
    beside = np.clip(1.5 * directions, -1.0, 1.0) * size / 2.0
    centers = distances[:, None, None] * directions + beside
    return point + centers.reshape(-1, 2)


def _fixed_costs(candidates, points, size, area, own):
    """Costs of candidates that do not depend on other labels."""
    half = size / 2.0
    edges = np.clip(points[own], candidates - half, candidates + half)
    others = np.delete(points, own, axis=0)
    near = _distance_to_line(points[own], edges, others) < 0.3 * size[1]
    reach = np.abs(others - candidates[:, None]) - half
    covered = (reach < 0.25 * size[1]).all(axis=-1).sum(axis=1)
    # A label that is beside another point could belong to it.
    beside = (reach < 0.8 * size[1]).all(axis=-1).sum(axis=1)
    distance = np.repeat(_DISTANCES, len(_ANGLES))
    # At the same distance, to the right is preferred, then to the left.
    side = np.tile(
        0.02 * (1.0 - np.cos(_ANGLES)) + 0.05 * np.abs(np.sin(_ANGLES)), len(_DISTANCES)
    )
    return (
        _OUTSIDE * _outside(candidates, size, area).sum(axis=-1)
        + _COVERED * (covered + near.sum(axis=1))
        + _BESIDE * beside
        + distance
        + side
    )


def _mutual_costs(candidates, point, size, centers, sizes, points, placed):
    """Costs of candidates beside the labels that have a position."""
    others, their_sizes = centers[placed], sizes[placed]
    overlap = _overlap(candidates, size, others, their_sizes).sum(axis=1)
    edges = np.clip(point, candidates - size / 2.0, candidates + size / 2.0)
    steps = np.linspace(0.1, 1.0, 8)[:, None, None]
    along = point + steps * (edges - point)  # (steps, candidates, 2)
    inside = np.abs(along[:, :, None] - others) < their_sizes / 2.0
    crossed = inside.all(axis=-1).any(axis=0).sum(axis=1)
    their_edges = np.clip(
        points[placed], others - their_sizes / 2.0, others + their_sizes / 2.0
    )
    lines = _intersect(point, edges, points[placed], their_edges).sum(axis=1)
    return _OVERLAP * overlap + _CROSSED * (crossed + lines)


def _covered(n, centers, sizes, points, area):
    """Returns the part of a label that cannot be read."""
    others = np.delete(centers, n, axis=0), np.delete(sizes, n, axis=0)
    overlap = _overlap(centers[n, None], sizes[n], *others).sum()
    if ((points[n] < 0) | (points[n] > np.asarray(area))).any():
        return float(overlap)  # as its point is outside, it has to be as well
    return float(overlap + _outside(centers[n], sizes[n], area).sum())


def _outside(centers, size, area):
    """Returns the part of a box outside the area, along x and along y."""
    before = np.maximum(size / 2.0 - centers, 0.0)
    after = np.maximum(centers + size / 2.0 - np.asarray(area), 0.0)
    return (before + after) / size


def _overlap(centers, size, others, their_sizes):
    """Returns the part of each box that each other box covers, `(N, M)`."""
    reach = (size + their_sizes) / 2.0 - np.abs(centers[:, None] - others)
    return (np.minimum(np.maximum(reach, 0.0), np.minimum(size, their_sizes))).prod(
        axis=-1
    ) / size.prod()


def _distance_to_line(start, ends, points):
    """Returns the distances of points to lines from one point, `(lines, points)`."""
    lines = (ends - start)[:, None]
    squared = np.maximum((lines**2).sum(axis=-1), 1e-9)
    along = np.clip(((points - start) * lines).sum(axis=-1) / squared, 0.0, 1.0)
    return np.linalg.norm(start + along[..., None] * lines - points, axis=-1)


def _intersect(start, ends, their_starts, their_ends):
    """Returns whether lines from one point intersect other lines, bool `(N, M)`."""

    def side(a, b, c):
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (
            b[..., 1] - a[..., 1]
        ) * (c[..., 0] - a[..., 0])

    ends = ends[:, None]
    apart = side(start, ends, their_starts) * side(start, ends, their_ends)
    across = side(their_starts, their_ends, start) * side(
        their_starts, their_ends, ends
    )
    return (apart < 0.0) & (across < 0.0)
