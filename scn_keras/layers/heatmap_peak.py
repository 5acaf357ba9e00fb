import math
from typing import Any

import keras
from keras import ops

from scn_keras.layers import _peak_fit as fit
from scn_keras.layers._peak_search import (
    find_largest,
    gather_window,
    keep_local_maxima,
)
from scn_keras.layers._spatial import check_positive_integers

# How far from the largest pixel the point may lie, in px along each axis; `None`: to
# the border of the window.
_REACH = {
    "argmax": 0.0,
    "parabola": 0.5,
    "log_parabola": 0.5,
    "dark": 1.0,
    "centroid": None,
    "soft_argmax": None,
    "gaussian_fit": None,
}
METHODS = tuple(_REACH)
_WINDOWS = {"centroid": 15, "soft_argmax": None, "gaussian_fit": 7}
_TEMPERATURE = 0.04


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapPeak(keras.layers.Layer):
    """Reads points with score and covariance off heatmaps.

    The largest pixel is found and refined to sub-pixel precision from the pixels
    around it. How far off each method is, under noise, near the border and on real
    heatmaps, is in `docs/decoders.md`, with what to choose when.

    | `method` | point | covariance |
    |---|---|---|
    | `"gaussian_fit"` | of the Gaussian fitted by least squares in a window | its |
    | `"log_parabola"` | by a parabola along each axis on the logarithm | curvature |
    | `"dark"` | by the Taylor expansion of the logarithm, axes together | curvature |
    | `"parabola"` | by a parabola along each axis, as the reference does | curvature |
    | `"centroid"` | mean of the window's pixels, weighted with their values | spread |
    | `"soft_argmax"` | mean of the pixels under a softmax of the heatmap | spread |
    | `"argmax"` | the largest pixel | curvature |

    "Curvature" is the covariance of the Gaussian whose logarithm has the curvature
    of the heatmap's at the largest pixel; "spread" is the weights' second central
    moment, so the window cuts it off, and that of `"soft_argmax"` is not as wide as
    the peak. All but the spread are the covariance of the Gaussian itself where the
    heatmap is one, and positive definite always.

    The first three are exact for Gaussians, also where the largest pixel lies on
    the border. `"parabola"` is off by up to 0.05 px at sigma 1, and leaves an axis
    alone where the largest pixel lies on the border, as means do there.

    A point is never more than half a pixel outside the grid. A plateau gives a point
    within it or at its edge, a heatmap of one constant a point anywhere, of which the
    score says what it is worth. A heatmap with a NaN, or whose largest value is
    infinite, has NaN points and covariance and score 0.

    With `num_peaks=K` the K largest local maxima are read, the largest first: pixels
    that are positive and larger than all others within `suppression_radius` along
    every axis. Where there are fewer, score 0 and NaN points fill up.

    References: Payer et al., Medical Image Analysis 54, 2019, section 4
    (`"parabola"`); Zhang et al., CVPR 2020 (`"dark"`); Guo, IEEE Signal Processing
    Magazine 28(5), 2011 (`"gaussian_fit"`); Sun et al., ECCV 2018 (`"soft_argmax"`).

    Args:
        method: One of the above.
        window: Odd int, the width in px of what `"gaussian_fit"` (7 unless given),
            `"centroid"` (15) and `"soft_argmax"` (all of the heatmap) look at around
            the largest pixel. About three sigmas of the heatmaps are good for a
            fit, six for a centroid; other peaks had better be outside.
        temperature: Float, what `"soft_argmax"` divides heatmaps by before the
            softmax: for heatmaps that are logits, that of their loss. `None` for 0.04
            of the largest value, for heatmaps that are Gaussians of whatever height.
        smoothing: Float, sigma in px of the Gaussian that `"dark"` smooths the
            heatmap with, 0 for none. It widens the covariance by its square. Peaks
            nearer to the border than `1 + 3 * smoothing` are not smoothed.
        num_peaks: Int, how many peaks are read off each heatmap.
        suppression_radius: Int, in px, how near to a peak there is no other, where
            several are read; 5 unless given.

    Call arguments:
        heatmaps: `(batch, *spatial, landmarks)` with 1 to 3 spatial axes of 3 and of
            `num_peaks` or more pixels.
        height: Float or `(landmarks,)`, the height of the target heatmaps, which
            the score is relative to.

    Output:
        Dict of `points` `(batch, landmarks, D)` in pixels, columns x, y(, z);
        `score` `(batch, landmarks)`, the largest pixel's value relative to
        `height`, from 0 to 1; `covariance` `(batch, landmarks, D, D)` in px². With
        several peaks there is an axis of `num_peaks` after `landmarks`. All are
        float32.

    Raises:
        ValueError: If an argument is out of its range or of no use to the method, or
            a spatial axis is too short.

    Example:

    >>> target = scn_keras.layers.GaussianHeatmap(1, sigma=2.0, size=(16, 16))
    >>> peak = scn_keras.layers.HeatmapPeak()
    >>> points = np.array([[[5.25, 10.75]]], "float32")
    >>> found = peak(target(points))
    >>> bool(np.allclose(found["points"], points, atol=1e-3))
    True
    >>> bool(np.allclose(found["covariance"], 4.0 * np.eye(2), atol=1e-2))
    True

    Two finger tips in one heatmap, and no third:

    >>> both = target(points) + 0.5 * target(np.array([[[12.25, 2.75]]], "float32"))
    >>> peaks = scn_keras.layers.HeatmapPeak(num_peaks=3, suppression_radius=3)
    >>> found = peaks(both)
    >>> np.round(keras.ops.convert_to_numpy(found["points"])[0, 0]).tolist()
    [[5.0, 11.0], [12.0, 3.0], [nan, nan]]
    """

    def __init__(
        self,
        method="gaussian_fit",
        window=None,
        temperature=None,
        smoothing=0.0,
        num_peaks=1,
        suppression_radius=None,
        **kwargs,
    ):
        # bfloat16 cannot hold a coordinate: it takes 301.3 for 302.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if method not in METHODS:
            raise ValueError(
                f"`method` must be one of {METHODS}. Received: method={method!r}"
            )
        check_positive_integers(num_peaks=num_peaks)
        if suppression_radius is None:
            suppression_radius = 5 if num_peaks > 1 else None
        elif num_peaks == 1:
            raise ValueError(
                "`suppression_radius` is for several peaks. Received: "
                f"suppression_radius={suppression_radius}, num_peaks=1"
            )
        else:
            check_positive_integers(suppression_radius=suppression_radius)
        for name, value, users in (
            ("window", window, tuple(_WINDOWS)),
            ("temperature", temperature, ("soft_argmax",)),
            ("smoothing", smoothing or None, ("dark",)),
        ):
            if value is not None and method not in users:
                raise ValueError(
                    f"`{name}` is for {' and '.join(users)}. Received: "
                    f"{name}={value}, method={method!r}"
                )
        if window is not None and not (
            isinstance(window, int) and window >= 3 and window % 2
        ):
            raise ValueError(
                "`window` must be an odd integer of at least 3. Received: "
                f"window={window}"
            )
        if temperature is not None and not temperature > 0.0:
            raise ValueError(
                f"`temperature` must be positive. Received: temperature={temperature}"
            )
        if not smoothing >= 0.0:
            raise ValueError(
                f"`smoothing` must not be negative. Received: smoothing={smoothing}"
            )
        if method == "soft_argmax" and window is None and num_peaks > 1:
            raise ValueError(
                "Over the whole heatmap, soft_argmax finds one point. Give `window` to "
                f"find several. Received: num_peaks={num_peaks}, window=None"
            )
        self.method = method
        self.window: Any = _WINDOWS.get(method) if window is None else window
        self.temperature = temperature
        self.smoothing = smoothing
        self.num_peaks = num_peaks
        self.suppression_radius = suppression_radius

    def build(self, heatmaps_shape):
        least = max(3, self.num_peaks)
        short = [s for s in heatmaps_shape[1:-1] if s is not None and s < least]
        if not 3 <= len(heatmaps_shape) <= 5 or short:
            raise ValueError(
                f"Layer `{self.name}` expects heatmaps of shape (batch, *spatial, "
                f"landmarks) with 1 to 3 spatial axes of at least {least} pixels. "
                f"Received: shape={heatmaps_shape}"
            )
        self.built = True

    def call(self, heatmaps, height=1.0):
        heatmaps = ops.cast(heatmaps, "float32")
        rank = len(heatmaps.shape) - 2
        if self.num_peaks == 1:
            top, index = find_largest(heatmaps, 1)
            there = ops.isfinite(top)
        else:
            maxima = keep_local_maxima(heatmaps, self.suppression_radius)
            top, index = find_largest(maxima, self.num_peaks)
            there = ops.logical_and(ops.isfinite(top), top > 0.0)
        # The largest of numbers and NaN is NaN on some backends only.
        total = ops.sum(heatmaps, axis=rank)
        for axis in range(rank - 1, 0, -1):
            total = ops.sum(total, axis=axis)
        there = ops.logical_and(there, (total < math.inf)[..., None])
        top = ops.where(there, top, 0.0)

        # One row a peak: LiteRT compares arrays of up to four axes.
        row = ops.reshape(top, (-1,))
        whole = ops.stack([ops.reshape(i, (-1,)) for i in index[::-1]], axis=-1)
        whole = ops.cast(whole, "float32")
        step, covariance = self._refine(heatmaps, index, row)
        reach = _REACH[self.method]
        if reach is None and self.window is not None:
            reach = self.window // 2
        if reach is not None:
            step = ops.clip(step, -reach, reach)
        last = ops.cast(ops.stack(ops.shape(heatmaps)[-2:0:-1]), "float32") - 1.0
        points = ops.clip(whole + step, -0.5, last + 0.5)

        valid = ops.reshape(there, (-1, 1))
        points = ops.where(valid, points, math.nan)
        covariance = ops.where(valid[..., None], covariance, math.nan)
        height = ops.reshape(ops.convert_to_tensor(height, "float32"), (-1, 1))
        output = {
            "points": ops.reshape(points, (*ops.shape(top), rank)),
            "score": ops.clip(top / height, 0.0, 1.0),
            "covariance": ops.reshape(covariance, (*ops.shape(top), rank, rank)),
        }
        if self.num_peaks == 1:
            output = {name: value[:, :, 0] for name, value in output.items()}
        return output

    def compute_output_spec(self, heatmaps, height=1.0):
        peaks = () if self.num_peaks == 1 else (self.num_peaks,)
        shape = (heatmaps.shape[0], heatmaps.shape[-1], *peaks)
        rank = len(heatmaps.shape) - 2
        return {
            "points": keras.KerasTensor((*shape, rank), "float32"),
            "score": keras.KerasTensor(shape, "float32"),
            "covariance": keras.KerasTensor((*shape, rank, rank), "float32"),
        }

    def get_config(self):
        return {
            **super().get_config(),
            "method": self.method,
            "window": self.window,
            "temperature": self.temperature,
            "smoothing": self.smoothing,
            "num_peaks": self.num_peaks,
            "suppression_radius": self.suppression_radius,
        }

    def _refine(self, heatmaps, index, top):
        """Returns steps from the largest pixels, and covariances."""
        if self.method in ("argmax", "parabola", "log_parabola", "dark"):
            return self._from_neighbours(heatmaps, index, top)
        if self.method == "soft_argmax":
            if self.temperature is None:
                temperature = ops.maximum(_TEMPERATURE * top, 1e-30)
            else:
                temperature = ops.full_like(top, self.temperature)
            if self.window is None:
                return self._from_all(heatmaps, index, top, temperature)
        offsets = fit.cube(self.window // 2, len(index))
        values, inside = gather_window(heatmaps, index, offsets)
        if self.method == "gaussian_fit":
            slope, curvature = fit.fit_gaussian(values, inside, offsets, _floor(top))
            step, covariance, _ = fit.newton(slope, curvature)
            # A top outside the window is no more than a guess: better the pixel.
            near = ops.all(ops.abs(step) <= self.window // 2, axis=-1, keepdims=True)
            return ops.where(near, step, 0.0), covariance
        if self.method == "soft_argmax":
            values = values - ops.max(values, axis=-1, keepdims=True)
            weights = ops.exp(values / temperature[..., None])
        else:
            weights = ops.maximum(values, 0.0)
        # A window cut off by the border on one side is cut on the other as well: its
        # mean would run inwards.
        inside = ops.logical_and(inside, ops.flip(inside, axis=-1))
        return fit.moments(ops.where(inside, weights, 0.0), offsets)

    def _from_neighbours(self, heatmaps, index, top):
        sizes = ops.shape(heatmaps)[1:-1]
        # Each axis keeps a neighbour on both sides.
        center = [ops.clip(i, 1, s - 2) for i, s in zip(index, sizes, strict=True)]
        aside = [ops.reshape(c - i, (-1,)) for c, i in zip(center, index, strict=True)]
        aside = ops.cast(ops.stack(aside[::-1], axis=-1), "float32")
        star = fit.star(len(index))
        values, _ = gather_window(heatmaps, center, star)
        if self.smoothing:
            offsets = fit.cube(1 + math.ceil(3.0 * self.smoothing), len(index))
            around, inside = gather_window(heatmaps, center, offsets)
            # Cut off by the border, the means would run inwards.
            whole = ops.all(inside, axis=-1, keepdims=True)
            smoothed = fit.smooth(around, offsets, star, self.smoothing)
            values = ops.where(whole, smoothed, values)
        log = ops.log(ops.maximum(values, _floor(top)))
        slope, curvature = fit.central_differences(log, star)
        step, covariance, concave = fit.newton(slope, curvature)
        if self.method == "dark":
            # On a plateau the parabola through the centre says nothing.
            return ops.where(concave, aside + step, 0.0), covariance
        if self.method == "parabola":
            slope, curvature = fit.central_differences(values, star)
            concave = ops.equal(aside, 0.0)
        step = fit.steps_by_axis(slope, curvature)
        return ops.where(concave, aside + step, 0.0), covariance

    def _from_all(self, heatmaps, index, top, temperature):
        index = [i[..., 0] for i in index]
        shape = (-1, *[1] * len(index), heatmaps.shape[-1])
        weights = ops.exp(
            (heatmaps - ops.reshape(top, shape)) / ops.reshape(temperature, shape)
        )
        mean, covariance = fit.whole_moments(weights, index)
        rank = len(index)
        return ops.reshape(mean, (-1, rank)), ops.reshape(covariance, (-1, rank, rank))


def _floor(top):
    # Values far below the peak are noise or negative and have no logarithm. A
    # Gaussian's neighbours are above this, down to sigma 1 also in a corner.
    return ops.maximum(1e-4 * top, 1e-30)[..., None]
