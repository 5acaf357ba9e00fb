"""The pixels from which a decoder computes the point of one landmark."""

from typing import Any, NamedTuple

import numpy as np

_FITS = ("gaussian_fit",)
# The covariance of these has the same curvature as the logarithm of the heatmap.
_CURVATURES = ("log_parabola", "dark", "parabola", "argmax")
_SHOWN = 4  # pixels around the window


class PeakWindow(NamedTuple):
    """A heatmap around its largest pixel, with the decoded point.

    All positions are in pixels of the heatmap, x, y(, z).

    Attributes:
        values: Array `(*sizes)`, the pixels that are drawn.
        origin: Array `(D,)`, the position of the first of them.
        largest: Array `(D,)`, the largest pixel.
        radius: Int, the decoder reads so many pixels on either side of the largest.
        point: Array `(D,)`, the decoded point.
        covariance: Array `(D, D)`, of the decoded peak.
        height: Float, the value at the point of the Gaussian with this covariance;
            `None` for decoders whose covariance is not that of a fitted Gaussian.
    """

    values: np.ndarray
    origin: np.ndarray
    largest: np.ndarray
    radius: int
    point: np.ndarray
    covariance: np.ndarray
    height: float | None

    def profile(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns positions and values of the pixels along an axis.

        The line passes through the largest pixel.

        Args:
            axis: Int, 0 for x, 1 for y, 2 for z.
        """
        index: list[Any] = [int(i) for i in (self.largest - self.origin)[::-1]]
        along = len(index) - 1 - axis
        index[along] = slice(None)
        values = self.values[tuple(index)]
        return self.origin[axis] + np.arange(len(values)), values

    def gaussian(self, axis: int, positions: np.ndarray) -> np.ndarray:
        """Returns the Gaussian along the same line, see `profile`."""
        offset = np.repeat(self.largest[None].astype(float), len(positions), axis=0)
        offset[:, axis] = positions
        return float(self.height or 0.0) * _gaussian(
            offset - self.point, self.covariance
        )


def peak_window(
    heatmap: np.ndarray,
    point: np.ndarray,
    covariance: np.ndarray,
    method: str,
    window: int | None,
) -> PeakWindow:
    """Cuts out the part of a heatmap that determines a point.

    Args:
        heatmap: Array `(*spatial)`.
        point: Array `(D,)`, x, y(, z), the decoded point in pixels of the heatmap.
        covariance: Array `(D, D)`.
        method: Str, the method of `HeatmapPeak`.
        window: Int, its window; `None` for methods that read the neighbours of the
            largest pixel, or the whole heatmap.
    """
    largest = np.array(np.unravel_index(heatmap.argmax(), heatmap.shape))
    radius = (window or 3) // 2
    first = np.maximum(largest - radius - _SHOWN, 0)
    last = np.minimum(largest + radius + _SHOWN + 1, heatmap.shape)
    values = heatmap[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    result = PeakWindow(
        values, first[::-1], largest[::-1], radius, point, covariance, None
    )
    top = float(heatmap.max())
    if not (np.isfinite(point).all() and top > 0.0):
        return result
    if method in _CURVATURES:
        at_largest = _gaussian((result.largest - point)[None], covariance)[0]
        return result._replace(height=top / max(at_largest, 1e-6))
    if method in _FITS:
        return result._replace(height=_fitted_height(result, top))
    return result


def _fitted_height(window: PeakWindow, top: float) -> float:
    """Returns the height of the Gaussian by weighted least squares of the logarithm."""
    grids = np.meshgrid(*(np.arange(n) for n in window.values.shape), indexing="ij")
    positions = np.stack([g.ravel() for g in grids[::-1]], axis=-1) + window.origin
    inside = (np.abs(positions - window.largest) <= window.radius).all(axis=-1)
    values = window.values.ravel()
    usable = inside & (values > 1e-4 * top)
    shape = _gaussian(positions[usable] - window.point, window.covariance)
    weights = values[usable] ** 2
    logarithm = np.log(values[usable] / np.maximum(shape, 1e-30))
    return float(np.exp((weights * logarithm).sum() / weights.sum()))


def _gaussian(offsets: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(covariance)
    return np.exp(-0.5 * np.einsum("ni,ij,nj->n", offsets, inverse, offsets))
