"""Pixels at which forests are fitted and vote, and reduced images."""

import numpy as np

from scn_keras.alignment import align, mean_shape
from scn_keras.geometry import apply_affine


def shrink(image, factor):
    """Returns the means of blocks of `factor` pixels; the border is repeated.

    Pixel i of the result lies at `factor * i + (factor - 1) / 2`.
    """
    if factor == 1:
        return image
    image = np.pad(image, [(0, -size % factor) for size in image.shape], "edge")
    blocks = [part for size in image.shape for part in (size // factor, factor)]
    return image.reshape(blocks).mean(tuple(range(1, 2 * image.ndim, 2)))


def in_grid(points, factor):
    """Returns points of a reduced image in px of the image."""
    return factor * points + 0.5 * (factor - 1.0)


def drawn_in_grid(sizes, count, random):
    """Draws pixels of a grid, `(count, D)`, columns x, y(, z)."""
    return random.integers(0, np.array(sizes[::-1]), (count, len(sizes)))


def drawn_in_ball(centers, radius, count, sizes, random):
    """Draws pixels with equal probability in discs or balls around points.

    Args:
        centers: Array `(n, D)`.
        radius: Float in px.
        count: Int.
        sizes: The sizes of the grid in array order. Pixels outside are moved to its
            border.
        random: NumPy's generator.

    Returns:
        Int array `(n, count, D)`.
    """
    n, d = centers.shape
    steps = random.normal(size=(n, count, d))
    steps /= np.linalg.norm(steps, axis=-1, keepdims=True)
    steps *= radius * random.uniform(size=(n, count, 1)) ** (1.0 / d)
    last = np.array(sizes[::-1]) - 1
    return np.clip(np.rint(centers[:, None] + steps), 0, last).astype("int64")


def grid_pixels(sizes, step):
    """Returns every `step`-th pixel along each axis, centred, `(P, D)`."""
    axes = [np.arange((size - 1) % step // 2, size, step) for size in sizes]
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([m.reshape(-1) for m in mesh[::-1]], axis=-1)


def ball_pixels(center, radius, step, sizes):
    """Returns every `step`-th pixel of the grid within a radius around a point."""
    around = np.arange(-int(radius // step), int(radius // step) + 1) * step
    mesh = np.meshgrid(*[around] * len(sizes), indexing="ij")
    steps = np.stack([m.reshape(-1) for m in mesh], axis=-1)
    steps = steps[np.sum(steps**2, axis=1) <= radius**2]
    last = np.array(sizes[::-1]) - 1
    # A point outside the grid still has pixels around it.
    pixels = np.rint(np.clip(center, 0, last)).astype("int64") + steps
    return pixels[np.all((pixels >= 0) & (pixels <= last), axis=1)]


def completed(points):
    """Returns points in which missing ones are those of the mean shape.

    The mean shape is aligned with the points that are present in the same image.

    Args:
        points: Array `(n, N, D)`, NaN if missing.
    """
    missing = np.isnan(points).any(axis=-1)
    if not missing.any():
        return points
    result = np.array(points)
    shape = None
    for image in np.flatnonzero(missing.any(axis=1)):
        present = ~missing[image]
        if present.sum() >= points.shape[-1]:
            if shape is None:
                enough = (~missing).sum(axis=1) >= points.shape[-1]
                shape = mean_shape([*points[enough]])
            moved = apply_affine(align(shape, points[image]), shape)
        else:
            moved = np.nanmean(points, axis=0)
        result[image, missing[image]] = moved[missing[image]]
    return result
