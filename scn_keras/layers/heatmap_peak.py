import math
from typing import Any

import keras
from keras import ops

from scn_keras.layers import _peak_fit as fit
from scn_keras.layers._peak_search import (
    find_largest,
    gather_window,
    keep_local_maxima,
    smooth_heatmaps,
)
from scn_keras.layers._spatial import check_positive_integers

# The largest distance of the point from the largest pixel, in px along each axis. With
# `None`, it is bounded by the window.
_MAX_STEP = {
    "argmax": 0.0,
    "parabola": 0.5,
    "log_parabola": 0.5,
    "dark": 1.0,
    "centroid": None,
    "soft_argmax": None,
    "gaussian_fit": None,
}
METHODS = tuple(_MAX_STEP)
_WINDOWS = {"centroid": 15, "soft_argmax": None, "gaussian_fit": 7}
_TEMPERATURE = 0.04


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapPeak(keras.layers.Layer):
    """Decodes heatmaps to points with scores and covariances.

    The largest pixel is found and refined to sub-pixel precision from the pixels around
    it. `docs/guides/decoders.md` lists the errors of each method under noise, near the
    border and on real heatmaps, and recommends which method to choose.

    | `method` | point | covariance |
    |---|---|---|
    | `"gaussian_fit"` | centre of a Gaussian, least-squares fit in a window | fit |
    | `"log_parabola"` | parabola along each axis of the logarithm | curvature |
    | `"dark"` | Taylor expansion of the logarithm in all axes | curvature |
    | `"parabola"` | parabola along each axis, as in the reference | curvature |
    | `"centroid"` | mean of the window's pixels, weighted by their values | moments |
    | `"soft_argmax"` | mean of the pixels under a softmax of the heatmap | moments |
    | `"argmax"` | the largest pixel | curvature |

    "Fit" is the covariance of the fitted Gaussian. "Curvature" is the covariance of the
    Gaussian whose logarithm has the same curvature as the logarithm of the heatmap at
    the largest pixel. "Moments" are the second central moments of the weights. They are
    truncated by the window, and those of `"soft_argmax"` are narrower than the peak. If
    the heatmap is a Gaussian, "fit" and "curvature" are its covariance. They are always
    positive definite.

    The first three methods are exact for Gaussians, also if the largest pixel lies on
    the border. `"parabola"` has an error of up to 0.05 px at sigma 1. If the largest
    pixel lies on the border, `"parabola"`, `"centroid"` and `"soft_argmax"` in a window
    do not refine the point along the axis across that border. `"parabola"` then refines
    the other axes on the border itself, as the reference does.

    A point lies at most half a pixel outside the grid. On a plateau the point lies
    within the plateau or at its edge. In a constant heatmap the point is arbitrary and
    must be judged by its score. A heatmap with a NaN or an infinite maximum has NaN
    points and covariance and score 0.

    With `num_peaks=K` the K largest local maxima are returned, the largest first. A
    local maximum is a positive pixel that is larger than all others within
    `suppression_radius` along every axis. If there are fewer, the remaining peaks have
    score 0 and NaN points. In VerSe 2020, `suppression_radius=1`,
    `maxima_smoothing=2.0` and `threshold=0.05` find the candidates of each vertebra.

    References: Payer et al., Medical Image Analysis 54, 2019, section 4
    (`"parabola"`); Zhang et al., CVPR 2020 (`"dark"`); Guo, IEEE Signal Processing
    Magazine 28(5), 2011 (`"gaussian_fit"`); Sun et al., ECCV 2018 (`"soft_argmax"`).

    Args:
        method: String, one of the methods above.
        window: Odd int, the width in px of the window around the largest pixel. The
            default is 7 for `"gaussian_fit"`, 15 for `"centroid"` and the whole heatmap
            for `"soft_argmax"`. Suitable are about three sigmas of the heatmaps for a
            fit and six for a centroid. The window should not contain other peaks.
        temperature: Float, the divisor of heatmaps before the softmax of
            `"soft_argmax"`. For heatmaps that are logits, use the temperature of their
            loss. `None`, for Gaussian heatmaps of any height, is 0.04 of the largest
            value.
        smoothing: Float, sigma in px of the Gaussian with which `"dark"` smooths the
            heatmap; 0 for no smoothing. It adds its square to the covariance. Peaks
            nearer to the border than `1 + 3 * smoothing` are not smoothed.
        num_peaks: Int, the number of peaks per heatmap.
        suppression_radius: Int, the radius in px around a peak within which no other
            peak is returned; 5 if `None`. Only for several peaks.
        maxima_smoothing: Float, sigma in px of the Gaussian with which heatmaps are
            smoothed to find local maxima; 0 for no smoothing. Points are refined on the
            heatmap itself, scores are values of the smoothed one. Only for several
            peaks.
        threshold: Float, the value that a local maximum must exceed. Only for several
            peaks.

    Call arguments:
        heatmaps: `(batch, *spatial, landmarks)` with 1 to 3 spatial axes, each with at
            least 3 and at least `num_peaks` pixels.
        height: Float or `(landmarks,)`, the height of the target heatmaps, by which
            the score is divided.

    Output:
        Dict of `points` `(batch, landmarks, D)` in pixels, columns x, y(, z);
        `score` `(batch, landmarks)`, the largest pixel's value relative to
        `height`, from 0 to 1; `covariance` `(batch, landmarks, D, D)` in px². With
        several peaks there is an axis of `num_peaks` after `landmarks`. All are
        float32.

    Raises:
        ValueError: If an argument is out of its range or is not used by the method, or
            a spatial axis is too short.

    Example:

    >>> target = scn_keras.layers.GaussianHeatmap(1, sigma=2.0, size=(16, 16))
    >>> peak = scn_keras.layers.HeatmapPeak()
    >>> points = np.array([[[5.25, 10.75]]], "float32")
    >>> output = peak(target(points))
    >>> bool(np.allclose(output["points"], points, atol=1e-3))
    True
    >>> bool(np.allclose(output["covariance"], 4.0 * np.eye(2), atol=1e-2))
    True

    A heatmap with two peaks, of which three are requested:

    >>> both = target(points) + 0.5 * target(np.array([[[12.25, 2.75]]], "float32"))
    >>> peaks = scn_keras.layers.HeatmapPeak(num_peaks=3, suppression_radius=3)
    >>> output = peaks(both)
    >>> np.round(keras.ops.convert_to_numpy(output["points"])[0, 0]).tolist()
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
        maxima_smoothing=0.0,
        threshold=0.0,
        **kwargs,
    ):
        # bfloat16 cannot represent coordinates: it rounds 301.3 to 302.
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
                "`suppression_radius` requires several peaks. Received: "
                f"suppression_radius={suppression_radius}, num_peaks=1"
            )
        else:
            check_positive_integers(suppression_radius=suppression_radius)
        for name, value in (
            ("maxima_smoothing", maxima_smoothing),
            ("threshold", threshold),
        ):
            if not 0.0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be a finite number of at least 0. "
                    f"Received: {name}={value}"
                )
            if value and num_peaks == 1:
                raise ValueError(
                    f"`{name}` requires several peaks. "
                    f"Received: {name}={value}, num_peaks=1"
                )
        for name, value, users in (
            ("window", window, tuple(_WINDOWS)),
            ("temperature", temperature, ("soft_argmax",)),
            ("smoothing", smoothing or None, ("dark",)),
        ):
            if value is not None and method not in users:
                raise ValueError(
                    f"`{name}` is used by {' and '.join(users)} only. Received: "
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
                "Over the whole heatmap, soft_argmax finds one point only. Give "
                "`window` to find several. Received: "
                f"num_peaks={num_peaks}, window=None"
            )
        self.method = method
        self.window: Any = _WINDOWS.get(method) if window is None else window
        self.temperature = temperature
        self.smoothing = smoothing
        self.num_peaks = num_peaks
        self.suppression_radius = suppression_radius
        self.maxima_smoothing = maxima_smoothing
        self.threshold = threshold

    def build(self, heatmaps_shape):
        min_size = max(3, self.num_peaks)
        short = [s for s in heatmaps_shape[1:-1] if s is not None and s < min_size]
        if not 3 <= len(heatmaps_shape) <= 5 or short:
            raise ValueError(
                f"Layer `{self.name}` expects heatmaps of shape (batch, *spatial, "
                f"landmarks) with 1 to 3 spatial axes of at least {min_size} pixels. "
                f"Received: shape={heatmaps_shape}"
            )
        self.built = True

    def call(self, heatmaps, height=1.0):
        heatmaps = ops.cast(heatmaps, "float32")
        rank = len(heatmaps.shape) - 2
        if self.num_peaks == 1:
            top, index = find_largest(heatmaps, 1)
            valid = ops.isfinite(top)
        else:
            maxima = heatmaps
            if self.maxima_smoothing:
                maxima = smooth_heatmaps(heatmaps, self.maxima_smoothing)
            maxima = keep_local_maxima(maxima, self.suppression_radius)
            top, index = find_largest(maxima, self.num_peaks)
            valid = ops.logical_and(ops.isfinite(top), top > self.threshold)
        # The maximum of numbers and NaN is NaN only on some backends, the sum on all.
        total = ops.sum(heatmaps, axis=rank)
        for axis in range(rank - 1, 0, -1):
            total = ops.sum(total, axis=axis)
        valid = ops.logical_and(valid, (total < math.inf)[..., None])
        top = ops.where(valid, top, 0.0)

        # One row per peak, because LiteRT compares arrays of at most four axes.
        row = ops.reshape(top, (-1,))
        pixel = ops.stack([ops.reshape(i, (-1,)) for i in index[::-1]], axis=-1)
        pixel = ops.cast(pixel, "float32")
        step, covariance = self._refine(heatmaps, index, row)
        max_step = _MAX_STEP[self.method]
        if max_step is None and self.window is not None:
            max_step = self.window // 2
        if max_step is not None:
            step = ops.clip(step, -max_step, max_step)
        last = ops.cast(ops.stack(ops.shape(heatmaps)[-2:0:-1]), "float32") - 1.0
        points = ops.clip(pixel + step, -0.5, last + 0.5)

        valid_row = ops.reshape(valid, (-1, 1))
        points = ops.where(valid_row, points, math.nan)
        covariance = ops.where(valid_row[..., None], covariance, math.nan)
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
            "maxima_smoothing": self.maxima_smoothing,
            "threshold": self.threshold,
        }

    def _refine(self, heatmaps, index, top):
        """Returns the steps from the largest pixels to the points, and covariances."""
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
            # A maximum outside the window is extrapolated: the pixel is more reliable.
            near = ops.all(ops.abs(step) <= self.window // 2, axis=-1, keepdims=True)
            return ops.where(near, step, 0.0), covariance
        if self.method == "soft_argmax":
            values = values - ops.max(values, axis=-1, keepdims=True)
            weights = ops.exp(values / temperature[..., None])
        else:
            weights = ops.maximum(values, 0.0)
        # A window that the border truncates on one side is truncated on the other side
        # as well. Otherwise the mean would be biased inwards.
        inside = ops.logical_and(inside, ops.flip(inside, axis=-1))
        return fit.moments(ops.where(inside, weights, 0.0), offsets)

    def _from_neighbours(self, heatmaps, index, top):
        sizes = ops.shape(heatmaps)[1:-1]
        # The centre is moved inwards, so that each axis has a neighbour on both sides.
        center = [ops.clip(i, 1, s - 2) for i, s in zip(index, sizes, strict=True)]
        shift = [ops.reshape(c - i, (-1,)) for c, i in zip(center, index, strict=True)]
        shift = ops.cast(ops.stack(shift[::-1], axis=-1), "float32")
        star = fit.star(len(index))
        values, _ = gather_window(heatmaps, center, star)
        if self.smoothing:
            offsets = fit.cube(1 + math.ceil(3.0 * self.smoothing), len(index))
            around, inside = gather_window(heatmaps, center, offsets)
            # Truncated by the border, the means would be biased inwards.
            complete = ops.all(inside, axis=-1, keepdims=True)
            smoothed = fit.smooth(around, offsets, star, self.smoothing)
            values = ops.where(complete, smoothed, values)
        log = ops.log(ops.maximum(values, _floor(top)))
        slope, curvature = fit.central_differences(log, star)
        step, covariance, concave = fit.newton(slope, curvature)
        if self.method == "dark":
            # On a plateau the parabola through the centre has no maximum.
            return ops.where(concave, shift + step, 0.0), covariance
        if self.method == "parabola":
            # The lines through the largest pixel itself. Across a border, the reference
            # does not refine, and the replicated pixel is not used.
            values, _ = gather_window(heatmaps, index, star)
            slope, curvature = fit.central_differences(values, star)
            concave = ops.equal(shift, 0.0)
        step = fit.steps_by_axis(slope, curvature)
        return ops.where(concave, shift + step, 0.0), covariance

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
    # Values far below the peak are noise, or negative and without a logarithm. The
    # neighbours of a Gaussian's peak lie above the floor, for sigma 1 even in a corner.
    return ops.maximum(1e-4 * top, 1e-30)[..., None]
