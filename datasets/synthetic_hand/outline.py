"""Closed outlines: smoothing, depth inside and thickness of the body, in mm."""

import numpy as np


def smooth_outline(corners: np.ndarray, parts: int = 3) -> np.ndarray:
    """Returns a smooth closed curve through corners.

    The curve is a centripetal Catmull-Rom spline: it passes through each corner, so
    that landmarks at corners lie exactly on the outline, and it has no loops between
    unevenly spaced corners.

    Args:
        corners: Array of shape `(K, 2)`, the corners in order.
        parts: Int, the number of segments between two corners.

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
    """Returns the depth of points inside a closed outline.

    Args:
        x: Float32 array of shape `(P,)`, first coordinates.
        y: Float32 array of shape `(P,)`, second coordinates.
        outline: Array of shape `(K, 2)`.

    Returns:
        Float32 array of shape `(P,)`, the distance to the outline, negative outside.

    Example:

    >>> square = np.array([(0, 0), (4, 0), (4, 4), (0, 4)])
    >>> at = np.array([1.0, -2.0], "float32"), np.array([2.0, 2.0], "float32")
    >>> depth_inside(*at, square).tolist()
    [1.0, -2.0]
    """
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    along, dx, dy = (np.empty(x.shape, np.float32) for _ in range(3))
    # A loop over segments needs only a few arrays of the size of the points.
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
            # A point is inside if its ray towards +x crosses an odd number of segments.
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
        depth: Array, distance from the outline of the body, mm, negative outside.
        radius: Array or float, half the thickness of the flat part of the body, at
            depths above `radius`, mm.

    Example:

    >>> chord(np.array([-1.0, 2.0, 5.0, 9.0]), 5.0).tolist()
    [0.0, 4.0, 5.0, 5.0]
    """
    depth = np.clip(depth, 0.0, radius)
    return np.sqrt(depth * (2.0 * radius - depth))
