import numpy as np

# Pixels of the longest allowed side. Of a cephalogram a pixel is 1.2 mm: fine enough
# to tell edges from empty places, and 40 times faster to work on.
_SIDE = {2: 192, 3: 64}


def coarse_image(image: np.ndarray) -> np.ndarray:
    """Reduces an image to at most 192 pixels, or 64 voxels, a side, by local means.

    Args:
        image: Array `((z,) y, x)`.

    Returns:
        float32 array of the same number of axes; every axis is reduced on its own.
    """
    side = _SIDE[image.ndim]
    # The mean of four by four pixels is as good as that of all of them.
    thin = tuple(slice(None, None, max(n // (4 * side), 1)) for n in image.shape)
    reduced = np.asarray(image[thin], np.float32)
    if not np.isfinite(reduced).all():
        reduced = np.nan_to_num(reduced, posinf=0.0, neginf=0.0)
    return local_means(reduced, tuple(min(side, n) for n in image.shape))


def local_means(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Brings an array to a shape: means where it shrinks, repetition where it grows."""
    for axis, (old, new) in enumerate(zip(image.shape, shape, strict=True)):
        starts = np.arange(new) * old // new
        counts = np.maximum(np.diff(np.append(starts, old)), 1)
        # Of equal starts, `reduceat` gives the one element that stands there.
        image = np.add.reduceat(image, starts, axis=axis)
        image /= np.expand_dims(
            counts.astype(image.dtype), [a for a in range(image.ndim) if a != axis]
        )
    return image


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """Smooths every axis with a Gaussian; the border's values go on beyond it."""
    radius = round(3.0 * sigma)
    taps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * np.square(taps / sigma)).astype(image.dtype)
    weights /= weights.sum()
    for axis, size in enumerate(image.shape):
        wide = np.pad(
            image, [(radius * (a == axis),) * 2 for a in range(image.ndim)], "edge"
        )
        wide = np.moveaxis(wide, axis, 0)
        total = sum(w * wide[n : n + size] for n, w in enumerate(weights))
        image = np.moveaxis(total, 0, axis)
    return image
