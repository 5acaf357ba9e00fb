"""Images of five blobs of different size whose shape, pose and size vary."""

import numpy as np

SHAPE = np.array([[0.0, -16.0], [14.0, -4.0], [9.0, 14.0], [-9.0, 14.0], [-14, -4.0]])
WIDTHS = (2.5, 3.0, 3.5, 4.0, 4.5)


def made_shapes(count, seed, rotation=0.15, missing=None):
    """Returns images `(count, 72, 64)` and points `(count, 5, 2)`.

    Args:
        count: Int.
        seed: Int.
        rotation: Float, the largest angle.
        missing: Index of a landmark whose blob is not drawn, or `None`.
    """
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(64.0), np.arange(72.0))
    images, points = [], []
    for _ in range(count):
        angle, scale = random.uniform((-rotation, 0.9), (rotation, 1.1))
        c, s = np.cos(angle), np.sin(angle)
        # One mode: the shape becomes wider and lower.
        stretched = SHAPE * (1.0 + random.normal(scale=0.06) * np.array([1.0, -1.0]))
        at = scale * stretched @ [[c, s], [-s, c]] + random.uniform(-5, 5, 2) + [32, 36]
        image = random.normal(scale=0.02, size=x.shape)
        for number, (point, width) in enumerate(zip(at, WIDTHS, strict=True)):
            apart = (x - point[0]) ** 2 + (y - point[1]) ** 2
            image += (number != missing) * np.exp(-apart / (2.0 * width**2))
        images.append(image)
        points.append(at)
    return np.array(images, "float32"), np.array(points)
