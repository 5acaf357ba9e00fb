import dataclasses

import numpy as np

from scn_keras.datasets.synthetic_hand.interpolation import resample


@dataclasses.dataclass
class Film:
    """Field, exposure and noise of a radiograph, drawn at random.

    Lengths are in mm, grey levels are relative to the full range.

    Args:
        margins: Array of shape `(4,)`, the smallest distances of landmarks from the
            left, top, right and bottom edge.
        shares: Array of shape `(2,)`, the shares of the remaining width and height that
            lie to the left and above.
        background: Float, grey level of the unobstructed film.
        contrast: Float, range of grey levels from the background to the densest bone.
        exposure: Float, absorption at the top of that range.
        shoulder: Float, the curvature of the film's response towards white.
        gradient: Array of shape `(2,)`, increase of the background over the field.
        bands: Array of shape `(64,)`, vertical stripes of the scanner.
        haze: Float32 array `(9, 7)`, variation of the soft tissue, around 1.
        sponge: Float32 array `(64, 64)`, the pattern of spongy bone, mean 0.
        blur: Float, standard deviation of the focal spot's blur.
        noise: Float, standard deviation of the noise.
    """

    margins: np.ndarray
    shares: np.ndarray
    background: float
    contrast: float
    exposure: float
    shoulder: float
    gradient: np.ndarray
    bands: np.ndarray
    haze: np.ndarray
    sponge: np.ndarray
    blur: float
    noise: float

    def field(
        self, points: np.ndarray, size: tuple[int, int]
    ) -> tuple[float, np.ndarray]:
        """Places the field around a hand.

        Args:
            points: Array of shape `(N, 2)`, landmarks, mm.
            size: Pair of ints, rows and columns of the image.

        Returns:
            Tuple of mm per pixel, and the upper left corner of the field in mm.
        """
        low, high = points.min(0), points.max(0)
        needed = high - low + self.margins[:2] + self.margins[2:]
        pitch = float(max(needed[0] / size[1], needed[1] / size[0]))
        remaining = pitch * np.array([size[1], size[0]]) - needed
        return pitch, low - self.margins[:2] - remaining * self.shares

    def unevenness(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the haze at every pixel, float32 of shape `size`."""
        haze = self.haze
        for axis, count in enumerate(size):
            coordinates = _fractions(count) * (haze.shape[axis] - 1)
            haze = resample(haze, coordinates, axis, smooth=True)
        return haze

    def develop(self, absorbed: np.ndarray, pitch: float) -> np.ndarray:
        """Converts absorption to grey levels.

        Args:
            absorbed: Float32 array `(H, W)`.
            pitch: Float, mm per pixel.

        Returns:
            Float32 array `(H, W)`, blurred and without noise.
        """
        rows, columns = absorbed.shape
        k = self.shoulder
        grey = 1.0 - np.exp(absorbed * (-k / self.exposure))
        grey *= self.contrast / (1.0 - np.exp(-k))
        across = _fractions(columns)
        bands = np.interp(across, _fractions(len(self.bands)), self.bands)
        level = self.background + self.gradient[0] * (across - 0.5) + bands
        grey += level.astype(np.float32)
        vertical = self.gradient[1] * (_fractions(rows) - 0.5)
        grey += vertical.astype(np.float32)[:, None]
        return _blurred(grey, self.blur / pitch)


def sample_film(rng: np.random.Generator) -> Film:
    """Draws field, exposure, blur and noise.

    Args:
        rng: `np.random.Generator`.

    Example:

    >>> film = sample_film(np.random.default_rng(0))
    >>> film.develop(np.zeros((6, 5), "float32"), 1.0).shape
    (6, 5)
    """
    margins = rng.uniform((11, 6, 9, 9), (26, 24, 26, 34))
    background = 0.02 + 0.4 * rng.beta(1.6, 1.6)
    bands = np.convolve(rng.normal(0, 0.012, 68), [0.1, 0.25, 0.3, 0.25, 0.1], "valid")
    sponge = rng.normal(0.0, 1.0, (64, 64))
    sponge = (sponge + np.roll(sponge, 1, 0) + np.roll(sponge, 1, 1)) / np.sqrt(3)
    return Film(
        margins=margins,
        shares=rng.uniform(0.25, 0.75, 2),
        background=background,
        contrast=min(rng.uniform(0.7, 0.95), 1.0 - background),
        exposure=rng.uniform(175.0, 230.0),
        shoulder=rng.uniform(0.5, 1.6),
        gradient=rng.normal(0.0, 0.035, 2),
        bands=bands,
        haze=np.clip(rng.normal(1.0, 0.05, (9, 7)), 0.88, 1.12).astype(np.float32),
        sponge=(rng.uniform(0.1, 0.26) * sponge).astype(np.float32),
        blur=rng.uniform(0.15, 0.32),
        noise=rng.uniform(0.004, 0.018),
    )


def _fractions(count: int) -> np.ndarray:
    """Returns the centres of `count` equal parts of the interval from 0 to 1."""
    return (np.arange(count) + 0.5) / count


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with a Gaussian; values beyond the border repeat it."""
    reach = max(1, int(np.ceil(3 * sigma)))
    offsets = np.arange(-reach, reach + 1)
    # A Gaussian much narrower than a pixel must not cause a division by zero.
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-3)) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows, columns = image.shape
    padded = np.pad(image, ((reach, reach), (0, 0)), mode="edge")
    image = sum(w * padded[k : k + rows] for k, w in enumerate(weights))
    padded = np.pad(image, ((0, 0), (reach, reach)), mode="edge")
    return sum(w * padded[:, k : k + columns] for k, w in enumerate(weights))
