import itertools

import keras
from keras import ops

_METHODS = ("log_parabola", "parabola", "argmax")


@keras.saving.register_keras_serializable(package="scn_keras")
class HeatmapPeak(keras.layers.Layer):
    """Reads one point, its score and its covariance off every heatmap.

    The largest pixel is refined by a parabola along each axis through it and its
    two neighbours. On the logarithm of the heatmap (`"log_parabola"`) this is
    exact for a Gaussian of any width, also where the largest pixel lies on the
    border; on the heatmap itself (`"parabola"`) it is the reference's decoder,
    off by up to 0.05 px at sigma 1, and leaves an axis alone where the largest
    pixel lies on the border.

    Reference: Payer et al., Medical Image Analysis 54, 2019, section 4 (the
    parabola); Zhang et al., CVPR 2020 (the logarithm).

    Args:
        method: `"log_parabola"`, `"parabola"` or `"argmax"` (whole pixels).

    Call arguments:
        heatmaps: `(batch, *spatial, landmarks)` with 1 to 3 spatial axes of 3 or
            more pixels.
        height: Float or `(landmarks,)`, the height of the target heatmaps, which
            the score is relative to.

    Output:
        Dict of `points` `(batch, landmarks, D)` in pixels, columns x, y(, z);
        `score` `(batch, landmarks)`, the height of the peak relative to `height`,
        from 0 to 1; `covariance` `(batch, landmarks, D, D)` in px², that of the
        Gaussian with the curvature of the heatmap's logarithm at the peak. All
        are float32.

    Raises:
        ValueError: If the method is unknown or a spatial axis is shorter than 3.

    Example:

    >>> target = scn_keras.layers.GaussianHeatmap(1, sigma=2.0, size=(16, 16))
    >>> peak = scn_keras.layers.HeatmapPeak()
    >>> points = np.array([[[5.25, 9.5]]], "float32")
    >>> found = peak(target(points))["points"]
    >>> bool(np.allclose(found, points, atol=1e-3))
    True
    """

    def __init__(self, method="log_parabola", **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if method not in _METHODS:
            raise ValueError(
                f"`method` must be one of {_METHODS}. Received: method={method!r}"
            )
        self.method = method

    def build(self, heatmaps_shape):
        short = [s for s in heatmaps_shape[1:-1] if s is not None and s < 3]
        if not 3 <= len(heatmaps_shape) <= 5 or short:
            raise ValueError(
                f"Layer `{self.name}` expects heatmaps of shape (batch, *spatial, "
                "landmarks) with 1 to 3 spatial axes of at least 3 pixels. "
                f"Received: shape={heatmaps_shape}"
            )
        self.built = True

    def call(self, heatmaps, height=1.0):
        heatmaps = ops.cast(heatmaps, "float32")
        rank = len(heatmaps.shape) - 2
        index = self._argmax(heatmaps, rank)
        sizes = ops.shape(heatmaps)[1:-1]
        center = [
            ops.clip(i, 1, s - 2) for i, s in zip(index, sizes, strict=True)
        ]  # each axis keeps a neighbour on both sides
        cube = self._neighbourhood(heatmaps, center, rank)
        top = self._gather(heatmaps, index)

        # Values far below the peak are noise or negative and have no logarithm. A
        # Gaussian's neighbours are above this, down to sigma 1 also in a corner.
        floor = ops.maximum(1e-4 * top, 1e-30)
        log = {k: ops.log(ops.maximum(v, floor)) for k, v in cube.items()}
        slope, curvature = _derivatives(log, rank)
        if self.method == "parabola":
            fit = _derivatives(cube, rank)
        else:
            fit = slope, curvature

        positions = []
        for axis in range(rank):
            whole = ops.cast(index[axis], "float32")
            if self.method == "argmax":
                positions.append(whole)
                continue
            g, h = fit[0][axis], fit[1][axis, axis]
            concave = h < 0.0
            step = ops.where(concave, -g / ops.where(concave, h, -1.0), 0.0)
            if self.method == "parabola":
                inside = ops.equal(index[axis], center[axis])
                step = ops.where(inside, step, 0.0)
                positions.append(whole + ops.clip(step, -0.5, 0.5))
            else:
                fine = ops.cast(center[axis], "float32") + step
                # On a plateau the parabola through the centre says nothing.
                fine = ops.where(concave, fine, whole)
                positions.append(whole + ops.clip(fine - whole, -0.5, 0.5))
        return {
            "points": ops.stack(positions[::-1], axis=-1),
            "score": ops.clip(top / height, 0.0, 1.0),
            "covariance": _covariance(curvature, rank),
        }

    def compute_output_spec(self, heatmaps, height=1.0):
        batch, landmarks = heatmaps.shape[0], heatmaps.shape[-1]
        rank = len(heatmaps.shape) - 2
        return {
            "points": keras.KerasTensor((batch, landmarks, rank), "float32"),
            "score": keras.KerasTensor((batch, landmarks), "float32"),
            "covariance": keras.KerasTensor((batch, landmarks, rank, rank), "float32"),
        }

    def get_config(self):
        return {**super().get_config(), "method": self.method}

    def _argmax(self, heatmaps, rank):
        # One axis at a time, the last first: on channels-last memory several times
        # as fast as one argmax over all pixels.
        reduced = [heatmaps]
        for axis in range(rank, 1, -1):
            reduced.insert(0, ops.max(reduced[0], axis=axis))
        index = [ops.cast(ops.argmax(reduced[0], axis=1), "int32")]
        for maps in reduced[1:]:
            line = self._gather(maps, [i[:, None, :] for i in index], whole_axis=True)
            index.append(ops.cast(ops.argmax(line, axis=1), "int32"))
        return index

    def _gather(self, maps, index, whole_axis=False):
        """Takes `maps[b, *index[b, n], n]`, with all of one more axis if asked."""
        shape = ops.shape(maps)
        batch = ops.arange(shape[0], dtype="int32")
        landmark = ops.arange(shape[-1], dtype="int32")
        extra = [1] if whole_axis else []
        flat = ops.reshape(batch, (-1, *extra, 1))
        axes = list(index)
        if whole_axis:
            axes.append(ops.arange(shape[-2], dtype="int32")[None, :, None])
        for position, size in zip(axes, shape[1:-1], strict=True):
            flat = flat * size + position
        flat = flat * shape[-1] + landmark
        return ops.take(ops.reshape(maps, (-1,)), flat)

    def _neighbourhood(self, heatmaps, center, rank):
        # Only what first and second derivatives take: no corners in 3D.
        return {
            offsets: self._gather(
                heatmaps, [c + o for c, o in zip(center, offsets, strict=True)]
            )
            for offsets in itertools.product((-1, 0, 1), repeat=rank)
            if sum(map(abs, offsets)) <= 2
        }


def _derivatives(values, rank):
    """Central differences: slopes by axis, curvatures by pair of axes (array order)."""

    def at(**moves):
        offsets = [0] * rank
        for axis, move in moves.items():
            offsets[int(axis[1:])] = move
        return values[tuple(offsets)]

    center = at()
    slope, curvature = {}, {}
    for i in range(rank):
        a = f"a{i}"
        slope[i] = 0.5 * (at(**{a: 1}) - at(**{a: -1}))
        curvature[i, i] = at(**{a: 1}) - 2.0 * center + at(**{a: -1})
        for j in range(i):
            b = f"a{j}"
            mixed = 0.25 * (
                at(**{a: 1, b: 1})
                - at(**{a: 1, b: -1})
                - at(**{a: -1, b: 1})
                + at(**{a: -1, b: -1})
            )
            curvature[i, j] = curvature[j, i] = mixed
    return slope, curvature


def _covariance(curvature, rank):
    # The inverse of minus the log heatmap's Hessian. A flat axis is as uncertain
    # as a float can usefully say; mixed terms are kept small enough for the matrix
    # to stay positive definite.
    order = range(rank - 1, -1, -1)  # x, y(, z)
    precision = {i: ops.maximum(-curvature[i, i], 1e-6) for i in order}
    if rank == 1:
        return (1.0 / precision[0])[..., None, None]
    limit = 0.95 / (rank - 1)
    scale = {i: ops.sqrt(precision[i]) for i in order}
    rows = []
    for i in order:
        row = []
        for j in order:
            if i == j:
                row.append(ops.ones_like(precision[i]))
            else:
                mixed = -curvature[i, j] / (scale[i] * scale[j])
                row.append(ops.clip(mixed, -limit, limit))
        rows.append(ops.stack(row, axis=-1))
    inverse = ops.inv(ops.stack(rows, axis=-2))
    norm = ops.stack([scale[i] for i in order], axis=-1)
    return inverse / (norm[..., :, None] * norm[..., None, :])
