"""Changes of an image after which a person would still mark the landmarks.

`python -m benchmarks.uncertainty --mild` measures how many of them are not trusted. On
cephalograms, three are doubtful: with a window of 20 to 95 % the soft tissue is black,
in a rescan of a quarter of the pixels with a noise of 6 % it is hardly seen, and a blur
of 0.4 % hides fine edges.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

Variant = Callable[[np.ndarray], np.ndarray]


def blurred(fraction: float) -> Variant:
    """Gaussian blur with a standard deviation as a fraction of the longer side."""

    def change(image: np.ndarray) -> np.ndarray:
        radius = fraction * max(image.shape)
        blur = ImageFilter.GaussianBlur(radius)
        return np.asarray(Image.fromarray(image).filter(blur))

    return change


def windowed(low: float, high: float) -> Variant:
    """A window of grey values between two percentiles, as a viewer shows it."""

    def change(image: np.ndarray) -> np.ndarray:
        bottom, top = np.percentile(image, (low, high))
        values = (image - bottom) / max(top - bottom, 1.0)
        return np.uint8(np.rint(255.0 * np.clip(values, 0.0, 1.0)))

    return change


def rescanned(reduction: int, gamma: float, noise: float, quality: int = 60) -> Variant:
    """Fewer pixels, another film curve, grain, and the losses of a JPEG file."""

    def change(image: np.ndarray) -> np.ndarray:
        size = [side // reduction for side in image.shape[::-1]]
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        values = np.power(small / 255.0, gamma)
        grain = np.random.default_rng(0).normal(0.0, noise, values.shape)
        values = np.uint8(np.rint(255.0 * np.clip(values + grain, 0.0, 1.0)))
        file = io.BytesIO()
        Image.fromarray(values).save(file, "JPEG", quality=quality)
        restored = Image.open(file).resize(image.shape[::-1], Image.Resampling.BILINEAR)
        return np.asarray(restored)

    return change


def turned(degrees: float) -> Variant:
    """Turned about the centre, as a film laid askew; the margin is that of the film."""

    def change(image: np.ndarray) -> np.ndarray:
        margin = int(np.median(np.concatenate([image[0], image[-1]])))
        film, bilinear = Image.fromarray(image), Image.Resampling.BILINEAR
        return np.asarray(film.rotate(degrees, bilinear, fillcolor=margin))

    return change


def turned_points(points: np.ndarray, size: tuple[int, int], kind: str) -> np.ndarray:
    """Returns where points x, y of an image are after the variant of a name.

    Args:
        points: Array `(N, 2)`.
        size: Pair of ints, columns and rows of the image.
        kind: A key of `MILD`.
    """
    degrees = float(kind.split()[2]) if kind.startswith("turned by") else 0.0
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centre = 0.5 * np.array(size) - 0.5
    # Counterclockwise as seen, where y points down.
    return (points - centre) @ np.array([[cos, -sin], [sin, cos]]) + centre


MILD: dict[str, Variant] = {
    "unchanged": lambda image: image,
    "blurred, 0.1 % of the height": blurred(0.001),
    "blurred, 0.2 % of the height": blurred(0.002),
    "blurred, 0.4 % of the height": blurred(0.004),
    "window of 1 to 99 %": windowed(1, 99),
    "window of 5 to 98 %": windowed(5, 98),
    "window of 20 to 95 %": windowed(20, 95),
    "gamma 0.8": rescanned(1, 0.8, 0.0, 95),
    "gamma 1.25": rescanned(1, 1.25, 0.0, 95),
    "gamma 0.6": rescanned(1, 0.6, 0.0, 95),
    "gamma 1.6": rescanned(1, 1.6, 0.0, 95),
    "rescanned, half the pixels": rescanned(2, 0.9, 0.02),
    "rescanned, a third": rescanned(3, 1.2, 0.04),
    "rescanned, a quarter": rescanned(4, 0.8, 0.06),
    "turned by 3 degrees": turned(3),
    "turned by -3 degrees": turned(-3),
    "turned by 5 degrees": turned(5),
    "turned by -5 degrees": turned(-5),
    "turned by 8 degrees": turned(8),
    "turned by -8 degrees": turned(-8),
    "turned by 10 degrees": turned(10),
    "turned by -10 degrees": turned(-10),
    "turned by 12 degrees": turned(12),
    "turned by -12 degrees": turned(-12),
}
