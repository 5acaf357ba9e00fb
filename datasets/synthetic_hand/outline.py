"""Closed outlines: smoothing, depth inside, thickness of the body. All in mm."""

import numpy as np


def smooth_outline(corners: np.ndarray, parts: int = 3) -> np.ndarray:
    """Draws a smooth closed curve through corners.

    The curve is a centripetal Catmull-Rom spline: it passes through every
    corner, so a landmark that is a corner lies exactly on what is drawn, and it
    makes no loops where corners are unevenly spaced.

    Args:
        corners: Array of shape `(K, 2)`, the corners in order.
        parts: Int, the number of segments drawn between two corners.

    Returns:
        Array of shape `(K * parts, 2)`; row `i * parts` is corner `i`.

    Example:

    >>> square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    >>> smooth_outline(square)[::3].tolist() == square.tolist()
    True
    """
    p0, p1, p2, p3 = (np.roll(corners, k, axis=0) for k in (1, 0, -1, -2))
    # Squared length to the power 1/4 is the square root of the length.
    gaps = [((b - a) ** 2).sum(-1) ** 0.25 for a, b in ((p0, p1), (p1, p2), (p2, p3))]
    g0, g1, g2 = (np.maximum(gap, 1e-6)[:, None] for gap in gaps)
    m1 = g1 * ((p1 - p0) / g0 - (p2 - p0) / (g0 + g1) + (p2 - p1) / g1)
    m2 = g1 * ((p2 - p1) / g1 - (p3 - p1) / (g1 + g2) + (p3 - p2) / g2)
    curve = np.empty((len(corners), parts, 2))
    for i in range(parts):
        u = i / parts
        curve[:, i] = (
            (1 + 2 * u) * (1 - u) ** 2 * p1
            + u * (1 - u) ** 2 * m1
            + u**2 * (3 - 2 * u) * p2
            + u**2 * (u - 1) * m2
        )
    return curve.reshape(-1, 2)


def depth_inside(x: np.ndarray, y: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Measures how deep points lie inside a closed outline.

    Args:
        x: Float32 array of shape `(P,)`, first coordinates.
        y: Float32 array of shape `(P,)`, second coordinates.
        outline: Array of shape `(K, 2)`.

    Returns:
        Float32 array of shape `(P,)`: the distance to the outline, negative
        outside.

    Example:

    >>> square = np.array([(0, 0), (4, 0), (4, 4), (0, 4)])
    >>> at = np.array([1.0, -2.0], "float32"), np.array([2.0, 2.0], "float32")
    >>> depth_inside(*at, square).tolist()
    [1.0, -2.0]
    """
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    along, dx, dy = (np.empty(x.shape, np.float32) for _ in range(3))
    # One pass a segment keeps the memory at a few arrays of the points' size.
    for (ax, ay), (bx, by) in zip(
        outline.tolist(), np.roll(outline, -1, axis=0).tolist(), strict=True
    ):
        ex, ey = bx - ax, by - ay
        squared = ex * ex + ey * ey
        if squared == 0.0:
            continue
        np.subtract(x, ax, out=dx)
        np.subtract(y, ay, out=dy)
        if ey != 0.0:
            # The ray towards +x crosses the segment: an odd number is inside.
            low, high = min(ay, by), max(ay, by)
            crossed = (y >= low) & (y < high)
            crossed &= dx < dy * (ex / ey)
            inside ^= crossed
        np.multiply(dx, ex / squared, out=along)
        along += dy * (ey / squared)
        np.clip(along, 0.0, 1.0, out=along)
        dx -= along * ex
        dy -= along * ey
        dx *= dx
        dy *= dy
        dx += dy
        np.minimum(nearest, dx, out=nearest)
    nearest = np.sqrt(nearest)
    return np.where(inside, nearest, -nearest)


def chord(depth: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    """Returns the half thickness of a rounded body.

    Args:
        depth: Array, distance from the body's outline, mm, negative outside.
        radius: Array or float, half the thickness where the body is flat, mm, which
            it is from a depth of `radius` on.

    Example:

    >>> chord(np.array([-1.0, 2.0, 5.0, 9.0]), 5.0).tolist()
    [0.0, 4.0, 5.0, 5.0]
    """
    depth = np.clip(depth, 0.0, radius)
    return np.sqrt(depth * (2.0 * radius - depth))
